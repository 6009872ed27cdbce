"""The database: its tables, opening, transactions, and checks of what is read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import UnionType
from typing import Any

from ..errors import HistoryError
from ..types import NS_PER_S

SCHEMA_VERSION = 1
"""Increases with every change of the tables. Databases of a newer version are refused."""

READ_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Errors of a broken database. It quotes a file's bytes in messages that should be UTF-8."""

_INT_LIMIT = 2**31 * NS_PER_S
"""Above all times, whose seconds have 32 bits, and above all ids."""

_BUSY_S = 2.0
_LOG_PAGES = 256
_LOG_BYTES = 1 << 20

_TABLES = (
    # `id` counts what was added; a picture has the id of the narration that came with it.
    # `run` is a stretch in which one camera's time only goes forward.
    """CREATE TABLE entry (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL, start_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL, text TEXT NOT NULL, question TEXT NOT NULL,
        camera TEXT NOT NULL, written_s REAL NOT NULL)""",
    """CREATE TABLE picture (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL, start_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL, stamp_ns INTEGER NOT NULL, frame_id TEXT NOT NULL,
        written_s REAL NOT NULL, jpeg BLOB NOT NULL)""",
    "CREATE INDEX entry_written ON entry (written_s)",
    "CREATE INDEX picture_written ON picture (written_s)",
    "CREATE INDEX picture_stamp ON picture (run, stamp_ns)",
    """CREATE VIRTUAL TABLE words USING fts5 (
        text, question, content='entry', content_rowid='id',
        tokenize='porter unicode61 remove_diacritics 2')""",
    """CREATE TRIGGER entry_added AFTER INSERT ON entry BEGIN
        INSERT INTO words (rowid, text, question) VALUES (new.id, new.text, new.question);
    END""",
    """CREATE TRIGGER entry_dropped AFTER DELETE ON entry BEGIN
        INSERT INTO words (words, rowid, text, question)
        VALUES ('delete', old.id, old.text, old.question);
    END""",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def open_database(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Return a connection for writing and one for reading; create the file if it is missing.

    Raises:
        HistoryError: The file is not usable.
    """
    try:
        with ExitStack() as opened:
            writing = opened.enter_context(closing(_connect(path)))
            _prepare(writing, path)
            reading = opened.enter_context(closing(_connect(path)))
            reading.execute("PRAGMA query_only = ON")
            newest_number(reading)
            opened.pop_all()
            return writing, reading
    except READ_ERRORS as error:
        raise HistoryError(
            f"{path} can't be used as a history ({error}): make sure that it is writable and that "
            "no other program holds it, or move it away to start a new one"
        ) from error


def newest_number(database: sqlite3.Connection) -> int:
    """Return the highest id in the database; 0 if it is empty."""
    highest = "SELECT max(id) AS id FROM"
    both = f"SELECT max(id) FROM ({highest} entry UNION ALL {highest} picture)"
    return int(database.execute(both).fetchone()[0] or 0)


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Commit the block's changes together, or none of them if it raises."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        database.rollback()
        raise


def checked_row(row: tuple[Any, ...] | None, *kinds: type | UnionType) -> Any:
    """Return the row if it exists and its values have these types.

    In a broken file an index may name a missing row, a column of numbers may hold text, and a
    number may be too large for a stamp.

    Raises:
        sqlite3.DatabaseError: The row is missing or broken.
    """
    if row is None or not all(map(isinstance, row, kinds)) or not all(map(_fits, row)):
        raise sqlite3.DatabaseError("a row is missing or broken")
    return row


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    # First, because a file that is not a history must not be changed.
    is_new = _is_new(database, path)
    # Must precede the first table; see decision 0046.
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    mode = database.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise HistoryError(f"the file system of {path} can't hold a history: use a local disk")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA secure_delete = OFF")
    database.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    database.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    with transaction(database):
        for statement in _TABLES if is_new else ():
            database.execute(statement)


def _is_new(database: sqlite3.Connection, path: Path) -> bool:
    """Return True if the database is empty, False if it is a history; else raise HistoryError."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise HistoryError(
            f"{path} was written by a newer version of this package: update it, or choose another "
            "folder"
        )
    is_empty = not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version < SCHEMA_VERSION and not is_empty:
        raise HistoryError(f"{path} is a database, but not a history: choose another folder")
    return is_empty


def _fits(value: object) -> bool:
    return not (isinstance(value, int) and abs(value) >= _INT_LIMIT)
