"""SQLite files of bags, complete or damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from .sqlite_wal import has_unmerged_pages
from .topic_qos import normalised_qos
from .types import BagMessage, Topic

_IMMUTABLE, _WITH_LOG = "immutable=1", "mode=ro"
"""Ways to open a file. The first ignores the write-ahead log and creates no file beside it."""

_ENCODINGS = ("ros2msg", "ros2idl")


class DatabaseReader:
    """One SQLite file, with the write-ahead log that its recorder did not merge.

    `messages` raises sqlite3.Error at a broken place, after all messages before it.
    """

    loss = ""

    def __init__(self, path: Path) -> None:
        """Read the topics. sqlite3.Error if this is no database of a bag."""
        self._path = path.resolve()
        self._access, self.incomplete = _access(self._path)
        with self._open() as database:
            topics = list(_topics(database))
            self.span_ns = _span_ns(database)
        self._topics = {number: topic for number, encoding, topic in topics if encoding == "cdr"}
        self.topics = tuple(self._topics.values())
        self.foreign = tuple(encoding for _, encoding, _ in topics if encoding != "cdr")

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """Yield the messages of these topics from `since_ns` on."""
        wanted = {number: topic for number, topic in self._topics.items() if topic in topics}
        query = (
            "SELECT timestamp, id, topic_id, data FROM messages {} WHERE timestamp >= ? "
            f"AND topic_id IN ({', '.join('?' * len(wanted))}) ORDER BY "
        )
        values = since_ns, *wanted
        last: tuple[int, int] | None = None
        with self._open() as database:
            try:
                for row in database.execute(query.format("") + "timestamp, id", values):
                    yield BagMessage(wanted[row[2]], row[0], row[3])
                    last = row[:2]
            except sqlite3.DatabaseError:
                # Perhaps only the index of stamps is broken: go on in the order of writing.
                for row in database.execute(query.format("NOT INDEXED") + "id", values):
                    if last is None or row[:2] > last:
                        yield BagMessage(wanted[row[2]], row[0], row[3])

    def is_intact(self) -> bool:
        """Return True if nothing is damaged or missing."""
        with self._open() as database:
            try:
                (result,) = database.execute("PRAGMA quick_check(1)").fetchone()
            except sqlite3.DatabaseError:
                return False
        return not self.incomplete and result == "ok"

    def _open(self) -> closing[sqlite3.Connection]:
        return _connect(self._path, self._access)


def _connect(path: Path, access: str) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"{path.as_uri()}?{access}", uri=True))


def _access(path: Path) -> tuple[str, str]:
    """Return the way to open the file, and why something is missing in it, or ''."""
    if not has_unmerged_pages(path):
        return _IMMUTABLE, ""
    try:
        with _connect(path, _WITH_LOG) as database:
            database.execute("SELECT max(id) FROM messages").fetchone()
    except sqlite3.OperationalError as error:  # SQLite has to write a file beside the log.
        return _IMMUTABLE, (
            f"its recorder did not finish it, and its newest messages, in {path.name}-wal, can't "
            f"be read here ({error}); copy the bag to a folder that is writable"
        )
    return _WITH_LOG, "its recorder did not finish it"


def _topics(database: sqlite3.Connection) -> Iterator[tuple[int, str, Topic]]:
    """Yield id, encoding of messages, and topic. Older versions of rosbag2 stored less."""
    definitions = {
        row["topic_type"]: row for row in _rows(database, "message_definitions", optional=True)
    }
    for row in _rows(database, "topics"):
        definition = definitions.get(row["type"], {})
        encoding = definition.get("encoding", "")
        known = encoding in _ENCODINGS
        topic = Topic(
            row["name"],
            row["type"],
            definition["encoded_message_definition"] if known else "",
            encoding if known else "",
            row.get("type_description_hash", ""),
            normalised_qos(row.get("offered_qos_profiles", "")),
        )
        yield row["id"], row.get("serialization_format", "cdr"), topic


def _rows(
    database: sqlite3.Connection, table: str, *, optional: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield all rows of a table by the names of its columns."""
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    if optional and (table,) not in tables:
        return
    cursor = database.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def _span_ns(database: sqlite3.Connection) -> tuple[int, int] | None:
    """Return the first and last stamp; None if there is no message, or if they can't be read."""
    # SQLite looks only one of them up by the index if they are asked for together.
    query = "SELECT (SELECT min(timestamp) FROM messages), (SELECT max(timestamp) FROM messages)"
    try:
        first_ns, last_ns = database.execute(query).fetchone()
    except sqlite3.DatabaseError:  # `messages` raises it again.
        return None
    return None if first_ns is None else (first_ns, last_ns)
