"""The thread that writes a bag: what it takes, drops, hands to the system, and says."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from streamingvlm_ros.bags.messages import topic_of
from streamingvlm_ros.bags.quota import Quota
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.recorded import Recorded
from streamingvlm_ros.bags.recording import Recording
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.types import NS_PER_S as S

from .scene import STRING, string, texts

SAID, HEARD = topic_of("/said", STRING), topic_of("/heard", STRING)


def said(number: int) -> Recorded:
    return Recorded(SAID, number * S, string(f"said {number}"))


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
    recording = Recording(bag, Quota(tmp_path, 0), 10**6, first=[said(0), said(1)])
    for number in range(2, 500):
        recording.put(said(number))
    assert recording.close()
    assert texts(tmp_path / "bag") == [f"said {n}" for n in range(500)]
    assert (recording.written, recording.dropped) == ({"/said": 500}, {})
    assert recording.problem == ""
    assert recording.is_closed


def test_what_came_is_handed_to_the_system_without_being_asked(tmp_path: Path) -> None:
    bag = FlushedBag(tmp_path / "bag")
    recording = Recording(bag, Quota(tmp_path, 0), 10**6)
    recording.put(said(0))
    # Nothing further comes that could wake it up.
    assert bag.flushed.wait(1.0)
    with BagReader(tmp_path / "bag") as unfinished:
        assert [r.data for r in unfinished.messages()] == [string("said 0")]
    recording.close()


def test_what_is_too_much_for_the_disk_is_dropped_and_counted(tmp_path: Path) -> None:
    bag = SlowBag(tmp_path / "bag")
    recording = Recording(bag, Quota(tmp_path, 0), 1000, first=[said(0)])
    assert bag.writing.wait(20)
    size = len(string("said 1"))
    for number in range(1, 1001):
        recording.put(said(number))
    recording.put(Recorded(HEARD, S, bytes(2000)))
    bag.go_on.set()
    recording.close()
    kept = 1 + 1000 // size
    assert kept - 20 < recording.written["/said"] <= kept
    assert recording.dropped == {"/said": 1001 - recording.written["/said"], "/heard": 1}
    assert texts(tmp_path / "bag") == [f"said {n}" for n in range(recording.written["/said"])]


def test_it_stops_with_the_bag_finished_before_the_disk_is_full(tmp_path: Path) -> None:
    quota = Quota(tmp_path, 1)
    bag = FlushedBag(tmp_path / "bag")
    recording = Recording(bag, quota, 10**6, first=[said(0)])
    assert bag.flushed.wait(5)
    quota._keep_free_bytes = 10**18
    recording.put(said(1))
    recording._thread.join(5)
    assert recording.is_closed
    assert "lower keep_free_mb" in recording.problem
    recording.put(said(2))
    assert (recording.written, recording.dropped) == ({"/said": 1}, {"/said": 2})
    with BagReader(tmp_path / "bag") as reader:
        assert len(list(reader.messages())) == 1
        assert reader.losses == {}


@pytest.mark.parametrize("when", ["write", "flush", "close"])
def test_an_error_of_the_disk_ends_it_with_what_was_flushed(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = FlushedBag(tmp_path / "bag")
    recording = Recording(bag, Quota(tmp_path, 0), 10**6, first=[said(0)])
    assert bag.flushed.wait(5)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bag, when, fail)
    recording.put(said(1))
    if when == "close":
        recording.end()
    recording._thread.join(5)
    assert "No space left on device" in recording.problem
    assert recording.written == {"/said": 1}
    assert recording.dropped == {"/said": 1}
    assert texts(tmp_path / "bag") == ["said 0"]


def test_a_bag_that_is_taken_away_ends_it_with_a_word(tmp_path: Path) -> None:
    bag = FlushedBag(tmp_path / "bag")
    recording = Recording(bag, Quota(tmp_path, 0), 10**6, first=[said(0)])
    assert bag.flushed.wait(5)
    for file in (tmp_path / "bag").iterdir():
        file.unlink()
    recording.put(said(1))
    recording._thread.join(5)
    assert "No such file" in recording.problem
