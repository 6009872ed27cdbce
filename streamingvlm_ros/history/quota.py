"""What has to go, so that the history stays within its age and size."""

from __future__ import annotations

import sqlite3

from .config import HistoryConfig

MARGIN_BYTES = 8_000_000
"""Files may be so much larger than the quota, beside a second copy of the index while it is made
anew: the log, and what comes between two trims."""

_ROOM = 0.95
_STEP = 64
_SLACK_BYTES = 2_000_000
_PAGES_AT_ONCE = 256


def trim(database: sqlite3.Connection, config: HistoryConfig, now_s: float) -> None:
    """Drop what is too old, and then the oldest until the rest fits, the newest row excepted.

    A twentieth more than has to go, so that it need not be done every second.
    """
    age_s = config.history_hours * 3600
    if _oldest_s(database, now_s) < now_s - age_s:
        _drop(database, "written_s < ?", now_s - _ROOM * age_s)
    max_bytes = config.history_megabytes * 1_000_000
    while (used := _used_bytes(database)) > max_bytes:
        oldest, newest = _ends(database)
        if oldest == newest:
            break
        kept = int((newest - oldest) * _ROOM * max_bytes / used)
        _drop(database, "id <= ?", min(newest - kept, newest - 1))
    if _file_bytes(database) > max_bytes + _SLACK_BYTES:
        _shrink_file(database)


def _drop(database: sqlite3.Connection, condition: str, value: float) -> None:
    """Drop the rows for which the condition holds, and make the index anew.

    In small transactions: the log stays small, and what was done is done if the process dies.
    """
    for table in ("entry", "picture"):
        rows = f"SELECT id FROM {table} WHERE {condition} LIMIT {_STEP}"
        dropped = _STEP
        while dropped == _STEP:
            done = database.execute(f"DELETE FROM {table} WHERE id IN ({rows})", [value])
            dropped = done.rowcount
    # It only marks words as dropped, which takes room for ever; see decision 0046.
    database.execute("INSERT INTO words (words) VALUES ('rebuild')")


def _oldest_s(database: sqlite3.Connection, now_s: float) -> float:
    """When the oldest row was written; now if there is none."""
    oldest = "SELECT min(written_s) AS s FROM"
    both = f"SELECT min(s) FROM ({oldest} entry UNION ALL {oldest} picture)"
    found = database.execute(both).fetchone()[0]
    return now_s if found is None else float(found)


def _ends(database: sqlite3.Connection) -> tuple[int, int]:
    """The ids of the oldest row and of the newest."""
    return database.execute(
        "SELECT min(id), max(id) FROM (SELECT min(id) AS id FROM entry UNION ALL "
        "SELECT min(id) FROM picture UNION ALL SELECT max(id) FROM entry UNION ALL "
        "SELECT max(id) FROM picture)"
    ).fetchone()


def _shrink_file(database: sqlite3.Connection) -> None:
    """Shrink the file a little: the quota has been lowered since it grew.

    Not at once: it may take minutes, and what is said meanwhile would wait.
    """
    # As a script, because a plain statement would stop after its first page.
    database.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")


def _used_bytes(database: sqlite3.Connection) -> int:
    free = _pragma(database, "freelist_count") * _pragma(database, "page_size")
    return _file_bytes(database) - free


def _file_bytes(database: sqlite3.Connection) -> int:
    return _pragma(database, "page_count") * _pragma(database, "page_size")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])
