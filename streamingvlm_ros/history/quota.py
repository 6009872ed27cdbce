"""Deletion of the oldest rows, so that the history stays within its age and size."""

from __future__ import annotations

import sqlite3

from .config import HistoryConfig

MARGIN_BYTES = 8_000_000
"""Size of the files above the quota: the log, and the rows between two trims. While the index is
rebuilt, a second copy of it comes on top."""

_TARGET = 0.95
_DELETE_ROWS = 64
_SLACK_BYTES = 2_000_000
_VACUUM_PAGES = 256


def trim(database: sqlite3.Connection, config: HistoryConfig, *, now_s: float) -> None:
    """Delete rows that are too old, then the oldest until the rest fits; the newest row stays.

    It deletes a twentieth more than it must, so that it need not run every second.
    """
    age_s = config.history_hours * 3600
    if _oldest_s(database, now_s) < now_s - age_s:
        _delete(database, "written_s < ?", value=now_s - _TARGET * age_s)
    max_bytes = config.history_megabytes * 1_000_000
    while (used := _used_bytes(database)) > max_bytes:
        oldest, newest = _ends(database)
        if oldest == newest:
            break
        rows_to_keep = int((newest - oldest) * _TARGET * max_bytes / used)
        _delete(database, "id <= ?", value=min(newest - rows_to_keep, newest - 1))
    if _file_bytes(database) > max_bytes + _SLACK_BYTES:
        _shrink_file(database)


def _delete(database: sqlite3.Connection, condition: str, *, value: float) -> None:
    """Delete the rows for which the condition holds, and rebuild the index.

    The transactions are small: the log stays small, and a killed process loses no finished one.
    """
    for table in ("entry", "picture"):
        rows = f"SELECT id FROM {table} WHERE {condition} LIMIT {_DELETE_ROWS}"
        deleted = _DELETE_ROWS
        while deleted == _DELETE_ROWS:
            cursor = database.execute(f"DELETE FROM {table} WHERE id IN ({rows})", [value])
            deleted = cursor.rowcount
    # Deletion only marks words, which takes space for ever; see decision 0046.
    database.execute("INSERT INTO words (words) VALUES ('rebuild')")


def _oldest_s(database: sqlite3.Connection, now_s: float) -> float:
    """Return the time of writing of the oldest row; `now_s` if there is none."""
    oldest = "SELECT min(written_s) AS s FROM"
    both = f"SELECT min(s) FROM ({oldest} entry UNION ALL {oldest} picture)"
    written_s = database.execute(both).fetchone()[0]
    return now_s if written_s is None else float(written_s)


def _ends(database: sqlite3.Connection) -> tuple[int, int]:
    """Return the ids of the oldest and the newest row."""
    return database.execute(
        "SELECT min(id), max(id) FROM (SELECT min(id) AS id FROM entry UNION ALL "
        "SELECT min(id) FROM picture UNION ALL SELECT max(id) FROM entry UNION ALL "
        "SELECT max(id) FROM picture)"
    ).fetchone()


def _shrink_file(database: sqlite3.Connection) -> None:
    """Shrink the file a little, because the quota was lowered after it grew.

    Shrinking it at once may take minutes, and new entries would wait.
    """
    # A script, because a plain statement would stop after its first page.
    database.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")


def _used_bytes(database: sqlite3.Connection) -> int:
    free = _pragma(database, "freelist_count") * _pragma(database, "page_size")
    return _file_bytes(database) - free


def _file_bytes(database: sqlite3.Connection) -> int:
    return _pragma(database, "page_count") * _pragma(database, "page_size")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])
