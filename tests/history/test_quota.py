"""Deletion by quota and age, its order, and the size of the files on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from streamingvlm_ros.history.quota import MARGIN_BYTES
from streamingvlm_ros.history.store import DATABASE_FILE, Entry, History
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Frame

from .fixtures import is_sound, narrate, opened, seconds, texts

MEGABYTE = 1_000_000


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def count_entries(folder: Path) -> int:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as database:
        return int(database.execute("SELECT count(*) FROM entry").fetchone()[0])


def narrate_noise(history: History, second: int) -> None:
    """Add a second whose picture takes some 20 kB."""
    noise = np.random.default_rng(second).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    entry = Entry(f"this is second {second}", second * S, (second + 1) * S)
    history.add(entry, Frame(noise, second * S))


def test_thousands_of_pictures_stay_within_the_quota_and_the_newest_remain(
    tmp_path: Path,
) -> None:
    largest = 0
    with opened(tmp_path, history_megabytes=2, history_picture_seconds=1.0) as history:
        for second in range(2000):
            narrate_noise(history, second)
            if second % 50 == 0:
                history.flush()
                largest = max(largest, folder_bytes(tmp_path))
        history.flush()
        assert (history.lost, history.failure) == (0, "")
        stored = texts(history)
        assert stored == [f"this is second {n}" for n in range(2000 - len(stored), 2000)]
        assert len(stored) > 40
        assert seconds(history.moments("What happened?", 2)) == [2000 - len(stored), 1999]
        assert seconds(history.moments("1999", 1)) == [1999]
    assert largest < 2 * MEGABYTE + MARGIN_BYTES
    assert folder_bytes(tmp_path) < 5 * MEGABYTE
    assert is_sound(tmp_path)


def test_a_history_of_text_alone_stays_within_the_quota(tmp_path: Path) -> None:
    counts = []
    with opened(tmp_path, history_megabytes=1) as history:
        for second in range(16_000):
            text = f"second {second}: thing {second * 7919 % 10007} passes gate {second % 613}"
            history.add(Entry(text, second * S, (second + 1) * S))
            if second % 500 == 0:
                history.flush()
                counts.append(count_entries(tmp_path))
        history.flush()
        assert history.lost == 0
        assert texts(history)[-1].startswith("second 15999")
        assert len(texts(history, "second")) == len(texts(history))
    assert max(counts) < 8000
    assert min(counts[16:]) > 4000
    assert folder_bytes(tmp_path) < 5 * MEGABYTE
    assert is_sound(tmp_path)


def test_a_lower_quota_shrinks_the_file_step_by_step(tmp_path: Path) -> None:
    settings = {"history_picture_seconds": 1.0}
    with opened(tmp_path, history_megabytes=100, **settings) as history:
        for second in range(800):
            narrate_noise(history, second)
            if second % 50 == 0:
                history.flush()
    large = folder_bytes(tmp_path)
    assert large > 8 * MEGABYTE
    with opened(tmp_path, history_megabytes=1, **settings) as history:
        for second in range(800, 830):
            narrate_noise(history, second)
            history.flush()
        assert texts(history)[-1] == "this is second 829"
    assert folder_bytes(tmp_path) < 4 * MEGABYTE
    assert is_sound(tmp_path)


def test_a_row_larger_than_the_quota_stays_until_the_next(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3)).astype(np.uint8)
    settings = {"history_megabytes": 1, "history_picture_px": 2048}
    with opened(tmp_path, **settings) as history:
        for second in (0, 2):
            history.add(Entry(f"second {second}", second * S, S), Frame(noise, second * S))
            history.flush()
        assert texts(history) == ["second 2"]
        assert seconds(history.moments("second", 4)) == [2]


def test_old_rows_are_deleted_by_their_time_of_writing(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        for second in range(1000, 1300):
            narrate(history, second, text=f"second {second}")
    # Pretend that the first 200 were written two hours ago; the camera's time doesn't matter.
    # That is within a twentieth of 2.08 hours: rows that are not too old yet stay.
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database:
        for table in ("entry", "picture"):
            database.execute(f"UPDATE {table} SET written_s = written_s - 7200 WHERE id <= 200")
        database.commit()
    with opened(tmp_path, history_hours=2.08) as history:
        narrate(history, 0, text="second 0")
        history.flush()
        assert len(texts(history)) == 301
    with opened(tmp_path, history_hours=1.9) as history:
        narrate(history, 0, text="second 0")
        history.flush()
        assert texts(history) == [f"second {n}" for n in (*range(1200, 1300), 0, 0)]
        assert texts(history, "1199 1200") == ["second 1200"]
        assert seconds(history.moments("What happened?", 500))[0] == 1200
    assert is_sound(tmp_path)
