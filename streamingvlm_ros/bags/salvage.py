"""Files of a bag that was never finished, or is damaged: read until it goes no further.

The library wants a file's index, which a recorder that was killed never wrote.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader

from .chunks import MAGIC
from .recorded import Recorded, Topic


class BrokenMcap:
    """An MCAP file from its beginning on, in the order in which it was written.

    `messages` raises whatever the library makes of a broken byte, after all that came before it.
    """

    span_ns: tuple[int, int] | None = None

    def __init__(self, path: Path) -> None:
        """ValueError if it is no MCAP file at all."""
        self._path = path
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError("this is no MCAP file")
        topics: dict[Topic, None] = {}
        with suppress(Exception):  # `messages` will meet it again
            for topic, _ in self._records():
                topics[topic] = None
        self.topics = tuple(topics)

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[Recorded]:
        """The messages of these topics that can be read."""
        for topic, message in self._records():
            if message and topic in topics:
                yield Recorded(topic, message.log_time, message.data)

    def _records(self) -> Iterator[tuple[Topic, Message | None]]:
        """Every topic when it is announced, and with every message of it."""
        schemas: dict[int, Schema] = {}
        topics: dict[int, Topic] = {}
        with self._path.open("rb") as file:
            for record in StreamReader(file, validate_crcs=True).records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    topics[record.id] = _topic(record, schemas[record.schema_id])
                    yield topics[record.id], None
                elif isinstance(record, Message):
                    yield topics[record.channel_id], record


class BrokenDatabase:
    """A sqlite3 file, with what its recorder had not yet merged into it.

    `messages` raises sqlite3.Error where it is broken, after all that came before it.
    """

    span_ns: tuple[int, int] | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as database:
            rows = database.execute("SELECT id, name, type FROM topics").fetchall()
            self._topics = {number: Topic(name, kind) for number, name, kind in rows}
        self.topics = tuple(self._topics.values())

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[Recorded]:
        """The messages of these topics that can be read."""
        with self._opened() as database:
            query = "SELECT topic_id, timestamp, data FROM messages ORDER BY id"
            for number, stamp_ns, data in database.execute(query):
                if self._topics[number] in topics:
                    yield Recorded(self._topics[number], stamp_ns, data)

    def _opened(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True))


def _topic(channel: Channel, schema: Schema) -> Topic:
    return Topic(
        channel.topic,
        schema.name,
        schema.data.decode(),
        schema.encoding,
        channel.metadata.get("topic_type_hash", ""),
        channel.metadata.get("offered_qos_profiles", ""),
    )
