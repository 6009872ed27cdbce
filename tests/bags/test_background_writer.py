"""The thread that writes a bag: its queue, drops, flushes and errors."""

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

from .sample_bags import STRING, TIMEOUT_S, string, texts

SPEECH, ECHO = topic_of("/speech", STRING), topic_of("/echo", STRING)


def speech(number: int) -> BagMessage:
    return BagMessage(SPEECH, number * S, string(f"speech {number}"))


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


class WeakMessage(BagMessage):
    """A message that a weak reference can watch."""


class SlowBag(BagWriter):
    """A bag whose disk blocks until `go_on` is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, BagConfig())
        self.writing, self.go_on = threading.Event(), threading.Event()

    def write(self, *message: Any, **data: Any) -> None:
        self.writing.set()
        assert self.go_on.wait(TIMEOUT_S)
        super().write(*message, **data)


class FlushedBag(BagWriter):
    """A bag that reports its first flush."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, BagConfig())
        self.flushed = threading.Event()

    def flush(self) -> None:
        super().flush()
        self.flushed.set()


def test_messages_are_written_in_the_order_of_arrival(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / "bag", BagConfig())
    writer = BackgroundWriter(
        bag, Quota(tmp_path, 0), max_queued_bytes=10**6, first=[speech(0), speech(1)]
    )
    for number in range(2, 500):
        writer.put(speech(number))
    assert writer.close()
    assert texts(tmp_path / "bag") == [f"speech {n}" for n in range(500)]
    assert (writer.written, writer.dropped) == ({"/speech": 500}, {})
    assert writer.problem == ""
    assert writer.is_closed


def test_messages_are_flushed_without_further_calls(tmp_path: Path) -> None:
    bag = FlushedBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), max_queued_bytes=10**6)
    writer.put(speech(0))
    # No further message wakes the thread.
    assert bag.flushed.wait(TIMEOUT_S)
    with BagReader(tmp_path / "bag") as unfinished:
        assert [r.data for r in unfinished.messages()] == [string("speech 0")]
    writer.close()


def test_messages_beyond_a_full_queue_are_dropped_and_counted(tmp_path: Path) -> None:
    bag = SlowBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), max_queued_bytes=1000, first=[speech(0)])
    assert bag.writing.wait(TIMEOUT_S)
    size = len(string("speech 1"))
    for number in range(1, 1001):
        writer.put(speech(number))
    writer.put(BagMessage(ECHO, S, bytes(2000)))
    bag.go_on.set()
    writer.close()
    capacity = 1 + 1000 // size
    assert capacity - 20 < writer.written["/speech"] <= capacity
    assert writer.dropped == {"/speech": 1001 - writer.written["/speech"], "/echo": 1}
    assert texts(tmp_path / "bag") == [f"speech {n}" for n in range(writer.written["/speech"])]


def test_recording_stops_with_a_finished_bag_before_the_disk_is_full(tmp_path: Path) -> None:
    quota = Quota(tmp_path, 1)
    bag = FlushedBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, quota, max_queued_bytes=10**6, first=[speech(0)])
    assert bag.flushed.wait(TIMEOUT_S)
    quota._keep_free_bytes = 10**18
    writer.put(speech(1))
    writer._thread.join(TIMEOUT_S)
    assert writer.is_closed
    assert "lower keep_free_mb" in writer.problem
    writer.put(speech(2))
    assert (writer.written, writer.dropped) == ({"/speech": 1}, {"/speech": 2})
    with BagReader(tmp_path / "bag") as reader:
        assert len(list(reader.messages())) == 1
        assert reader.losses == {}


def test_messages_that_can_no_longer_be_written_are_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = SlowBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), max_queued_bytes=10**6, first=[speech(0)])
    assert bag.writing.wait(TIMEOUT_S)
    queued = [
        WeakMessage(SPEECH, number * S, string(f"speech {number}")) for number in range(1, 10)
    ]
    for message in queued:
        writer.put(message)
    references = [weakref.ref(message) for message in queued]
    del queued, message
    assert all(reference() for reference in references)
    monkeypatch.setattr(BagWriter, "write", no_space)
    bag.go_on.set()
    writer._thread.join(TIMEOUT_S)
    gc.collect()
    assert [reference() for reference in references] == [None] * 9
    assert writer.dropped == {"/speech": 10}


@pytest.mark.parametrize("when", ["write", "flush", "close"])
def test_a_disk_error_ends_recording_with_the_flushed_messages(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = FlushedBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), max_queued_bytes=10**6, first=[speech(0)])
    assert bag.flushed.wait(TIMEOUT_S)

    monkeypatch.setattr(bag, when, no_space)
    writer.put(speech(1))
    if when == "close":
        writer.end()
    writer._thread.join(TIMEOUT_S)
    assert "No space left on device" in writer.problem
    assert writer.written == {"/speech": 1}
    assert writer.dropped == {"/speech": 1}
    assert not writer.bag_removed
    assert "Everything written before is kept" in writer.problem
    assert texts(tmp_path / "bag") == ["speech 0"]


def test_removing_the_files_of_a_bag_ends_recording_with_a_reason(tmp_path: Path) -> None:
    bag = FlushedBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), max_queued_bytes=10**6, first=[speech(0)])
    assert bag.flushed.wait(TIMEOUT_S)
    for file in (tmp_path / "bag").iterdir():
        file.unlink()
    writer.put(speech(1))
    writer._thread.join(TIMEOUT_S)
    assert f"a file of {tmp_path / 'bag'} is gone" in writer.problem
    assert "kept" not in writer.problem
    assert writer.bag_removed


@pytest.mark.parametrize("deleted", ["bags/bag", "bags"])
def test_removing_the_folder_of_a_bag_ends_recording_with_a_reason(
    tmp_path: Path, deleted: str
) -> None:
    (tmp_path / "bags").mkdir()
    bag = FlushedBag(tmp_path / "bags" / "bag")
    writer = BackgroundWriter(
        bag, Quota(tmp_path / "bags", 1), max_queued_bytes=10**6, first=[speech(0)]
    )
    assert bag.flushed.wait(TIMEOUT_S)
    shutil.rmtree(tmp_path / deleted)
    writer.put(speech(1))
    writer._thread.join(TIMEOUT_S)
    assert writer.problem.startswith(f"{bag.folder} is gone: it was deleted or moved")
    assert writer.bag_removed
    assert writer.written["/speech"] + writer.dropped["/speech"] == 2


def test_a_removed_folder_is_also_noticed_at_the_end(tmp_path: Path) -> None:
    bag = FlushedBag(tmp_path / "bag")
    writer = BackgroundWriter(bag, Quota(tmp_path, 0), max_queued_bytes=10**6, first=[speech(0)])
    assert bag.flushed.wait(TIMEOUT_S)
    shutil.rmtree(tmp_path / "bag")
    assert writer.close()
    assert writer.bag_removed
