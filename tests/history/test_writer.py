"""Hanging and full disks, removed files and broken frames: no caller waits, the thread lives."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from streamingvlm_ros.history.store import DATABASE_FILE, Entry, History
from streamingvlm_ros.history.writer import MAX_QUEUED_ENTRIES, MAX_QUEUED_PICTURE_BYTES
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Frame

from .fixtures import line_of, narrate, opened, process, texts


@contextmanager
def hanging_disk(folder: Path) -> Iterator[None]:
    """Block writing by another transaction that stays open."""
    with closing(sqlite3.connect(folder / DATABASE_FILE, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def add(history: History, text: str) -> None:
    history.add(Entry(text, 0, S))


def test_adding_never_waits_for_the_disk_and_overflow_is_counted(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        with hanging_disk(tmp_path):
            for number in range(2 * MAX_QUEUED_ENTRIES):
                add(history, f"number {number}")
            assert history.lost > MAX_QUEUED_ENTRIES // 2
        history.flush()
        add(history, "the disk is back")
        history.flush()
        stored = texts(history)
        assert stored[-1] == "the disk is back"
        assert len(stored) + history.lost == 2 * MAX_QUEUED_ENTRIES + 1
        assert history.failure == ""


def test_the_reason_of_a_failure_is_reported_until_writing_works_again(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        with hanging_disk(tmp_path):
            add(history, "lost")
            history.flush()
            assert "locked" in history.failure
            assert history.lost == 1
            assert texts(history) == []
        add(history, "kept")
        history.flush()
        assert (texts(history), history.failure, history.lost) == (["kept"], "", 1)


def test_queued_pictures_take_a_bounded_amount_of_memory(tmp_path: Path) -> None:
    image = np.zeros((3000, 4000, 3), np.uint8)
    capacity = MAX_QUEUED_PICTURE_BYTES // image.nbytes
    with opened(tmp_path) as history:
        for second in range(0, 80, 2):
            frame = Frame(image, second * S)
            history.add(Entry("early", second * S, (second + 1) * S), frame)
        history.flush()
        stored = len(history.moments("early", 100))
        assert capacity <= stored == 40 - history.lost < 40
        assert len(texts(history)) == 40
        for second in range(80, 120, 2):
            history.add(Entry("late", second * S, (second + 1) * S), Frame(image, second * S))
            history.flush()
        assert len(history.moments("late", 100)) == 20


FULL_DISK = """
import resource, sys
from pathlib import Path
from streamingvlm_ros.history.config import HistoryConfig
from streamingvlm_ros.history.store import Entry, History

def limit_file_size(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

history = History(Path(sys.argv[1]), HistoryConfig())
history.add(Entry("before", 0, 1))
history.flush()
limit_file_size(1)
history.add(Entry("too much", 0, 1))
history.flush()
print(history.lost, bool(history.failure), flush=True)
limit_file_size(resource.RLIM_INFINITY)
history.add(Entry("after", 0, 1))
history.flush()
print(history.lost, bool(history.failure), [e.text for e in history.entries()[0]], flush=True)
history.close()
"""


def test_a_full_disk_loses_only_the_rows_being_written(tmp_path: Path) -> None:
    with process(FULL_DISK, tmp_path) as child:
        assert line_of(child) == "1 True"
        assert line_of(child) == "1 False ['before', 'after']"


def test_a_removed_folder_is_noticed_and_losses_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    with opened(folder) as history:
        narrate(history, 0, text="kept in vain")
        history.flush()
        assert (history.failure, history.lost) == ("", 0)
        shutil.rmtree(folder)
        for second in (2, 4):
            narrate(history, second, text="lost")
            history.flush()
        assert "was removed" in history.failure
        assert "restart the node" in history.failure
        assert history.lost == 2
        # The folder is a file now.
        folder.touch()
        narrate(history, 6, text="lost")
        history.flush()
        assert "was removed" in history.failure
    assert folder.stat().st_size == 0


def test_a_folder_that_was_moved_away_and_back_is_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    with opened(folder) as history:
        add(history, "before")
        history.flush()
        folder.rename(tmp_path / "elsewhere")
        add(history, "lost")
        history.flush()
        assert "moved" in history.failure
        (tmp_path / "elsewhere").rename(folder)
        add(history, "after")
        history.flush()
        assert (texts(history), history.failure) == (["before", "after"], "")


def test_another_history_at_the_same_path_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    with opened(folder) as history:
        add(history, "before")
        history.flush()
        shutil.rmtree(folder)
        with opened(folder) as other:
            add(other, "by the other")
            other.flush()
            add(history, "lost")
            history.flush()
            assert "was removed" in history.failure
            assert texts(other) == ["by the other"]


def test_the_working_directory_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with opened(Path("history")) as history:
        monkeypatch.chdir("/")
        add(history, "kept")
        history.flush()
        assert (texts(history), history.failure) == (["kept"], "")


def test_a_broken_frame_loses_only_itself_and_its_second(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        history.add(Entry("broken", 0, S), Frame(np.zeros((0, 0, 3), np.uint8), 0))
        history.flush()
        assert history.lost == 1
        assert history.failure
        narrate(history, 2, text="intact")
        history.flush()
        assert (texts(history), history.failure) == (["intact"], "")


def test_an_answer_has_no_picture(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        image = np.zeros((24, 32, 3), np.uint8)
        history.add(Entry("Yes.", 0, S, "Is it?"), Frame(image, 0))
        history.flush()
        assert texts(history) == ["Yes."]
        assert history.moments("What happened?", 1) == []
