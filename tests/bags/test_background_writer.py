"""The thread that writes a bag: what it takes, drops, hands to the system, and says."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from streamingvlm_ros.bags.background_writer import BackgroundWriter
from streamingvlm_ros.bags.cdr import topic_of
from streamingvlm_ros.bags.quota import Quota
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.types import BagMessage
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.types import NS_PER_S as S

from .sample_bags import STRING, string, texts

SAID, HEARD = topic_of("/said", STRING), topic_of("/heard", STRING)


def said(number: int) -> BagMessage:
    return BagMessage(SAID, number * S, string(f"said {number}"))


def no_space(*_: Any) -> None:
    raise OSError(28, "No space left on device")


class Watched(BagMessage):
    """Tells when nobody holds it any more."""


class SlowBag(BagWriter):
    """Its disk takes nothing until it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, BagConfig())
        self.writing, self.go_on = threading.Event(), threading.Event()

    def write(self, *message: Any) -> None:
        self.writing.set()
        assert self.go_on.wait(20)
        super().write(*message)


class FlushedBag(BagWriter):
    """Tells when it was flushed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, BagConfig())
        self.flushed = threading.Event()

    def flush(self) -> None:
        super().flush()
        self.flushed.set()


def test_everything_is_written_in_the_order_in_which_it_came(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / "bag", BagConfig())
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), 10**6, first=[said(0), said(1)])
    for number in range(2, 500):
        writer.put(said(number))
    assert writer.close()
    assert texts(tmp_path / "bag") == [f"said {n}" for n in range(500)]
    assert (writer.written, writer.dropped) == ({"/said": 500}, {})
    assert writer.problem == ""
    assert writer.is_closed


def test_what_came_is_handed_to_the_system_without_being_asked(tmp_path: Path) -> None:
    bag = FlushedBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), 10**6)
    writer.put(said(0))
    # Nothing further comes that could wake it up.
    assert bag.flushed.wait(20)
    with BagReader(tmp_path / "bag") as unfinished:
        assert [r.data for r in unfinished.messages()] == [string("said 0")]
    writer.close()


def test_what_is_too_much_for_the_disk_is_dropped_and_counted(tmp_path: Path) -> None:
    bag = SlowBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), 1000, first=[said(0)])
    assert bag.writing.wait(20)
    size = len(string("said 1"))
    for number in range(1, 1001):
        writer.put(said(number))
    writer.put(BagMessage(HEARD, S, bytes(2000)))
    bag.go_on.set()
    writer.close()
    kept = 1 + 1000 // size
    assert kept - 20 < writer.written["/said"] <= kept
    assert writer.dropped == {"/said": 1001 - writer.written["/said"], "/heard": 1}
    assert texts(tmp_path / "bag") == [f"said {n}" for n in range(writer.written["/said"])]


def test_it_stops_with_the_bag_finished_before_the_disk_is_full(tmp_path: Path) -> None:
    quota = Quota(tmp_path, 1)
    bag = FlushedBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, quota, 10**6, first=[said(0)])
    assert bag.flushed.wait(20)
    quota._keep_free_bytes = 10**18
    writer.put(said(1))
    writer._thread.join(20)
    assert writer.is_closed
    assert "lower keep_free_mb" in writer.problem
    writer.put(said(2))
    assert (writer.written, writer.dropped) == ({"/said": 1}, {"/said": 2})
    with BagReader(tmp_path / "bag") as reader:
        assert len(list(reader.messages())) == 1
        assert reader.losses == {}


def test_what_can_no_longer_be_written_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = SlowBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), 10**6, first=[said(0)])
    assert bag.writing.wait(20)
    waiting = [Watched(SAID, number * S, string(f"said {number}")) for number in range(1, 10)]
    for recorded in waiting:
        writer.put(recorded)
    watched = [weakref.ref(recorded) for recorded in waiting]
    del waiting, recorded
    assert all(reference() for reference in watched)
    monkeypatch.setattr(BagWriter, "write", no_space)
    bag.go_on.set()
    writer._thread.join(20)
    gc.collect()
    assert [reference() for reference in watched] == [None] * 9
    assert writer.dropped == {"/said": 10}


@pytest.mark.parametrize("when", ["write", "flush", "close"])
def test_an_error_of_the_disk_ends_it_with_what_was_flushed(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = FlushedBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), 10**6, first=[said(0)])
    assert bag.flushed.wait(20)

    monkeypatch.setattr(bag, when, no_space)
    writer.put(said(1))
    if when == "close":
        writer.end()
    writer._thread.join(20)
    assert "No space left on device" in writer.problem
    assert writer.written == {"/said": 1}
    assert writer.dropped == {"/said": 1}
    assert not writer.bag_removed
    assert "was written before is kept" in writer.problem
    assert texts(tmp_path / "bag") == ["said 0"]


def test_a_bag_that_is_taken_away_ends_it_with_a_word(tmp_path: Path) -> None:
    bag = FlushedBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), 10**6, first=[said(0)])
    assert bag.flushed.wait(20)
    for file in (tmp_path / "bag").iterdir():
        file.unlink()
    writer.put(said(1))
    writer._thread.join(20)
    assert f"a file of {tmp_path / 'bag'} is gone" in writer.problem
    assert "kept" not in writer.problem
    assert writer.bag_removed


@pytest.mark.parametrize("deleted", ["bags/bag", "bags"])
def test_a_bag_whose_folder_is_taken_away_ends_it_with_a_word(tmp_path: Path, deleted: str) -> None:
    (tmp_path / "bags").mkdir()
    bag = FlushedBag(tmp_path / "bags" / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path / "bags", 1), 10**6, first=[said(0)])
    assert bag.flushed.wait(20)
    shutil.rmtree(tmp_path / deleted)
    writer.put(said(1))
    writer._thread.join(20)
    assert writer.problem.startswith(f"{bag.folder} is gone: somebody deleted or moved it")
    assert writer.bag_removed
    assert writer.written["/said"] + writer.dropped["/said"] == 2


def test_a_folder_that_is_taken_away_is_also_noticed_at_the_end(tmp_path: Path) -> None:
    bag = FlushedBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), 10**6, first=[said(0)])
    assert bag.flushed.wait(20)
    shutil.rmtree(tmp_path / "bag")
    assert writer.close()
    assert writer.bag_removed
