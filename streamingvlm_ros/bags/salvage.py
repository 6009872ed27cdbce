"""Unfinished and damaged files of a bag, read as far as possible.

The rosbags library needs a file's index, which a killed recorder never wrote.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from ..types import NS_PER_S
from .mcap_chunks import MAGIC
from .types import BagMessage, Topic

_NAMELESS = "topics that were announced in them"


@dataclass
class Damage:
    """Unreadable chunks of a file. All other chunks are read."""

    begin_ns: int | None = None
    """First stamp of the file; None if unknown."""
    spans_ns: set[tuple[int, int]] = field(default_factory=set)
    """First and last stamp of each damaged chunk."""
    lost_messages: Counter[str] = field(default_factory=Counter)
    """Number of messages in these chunks by topic, as far as is known."""

    def __str__(self) -> str:
        """Describe the damage in a sentence; empty if there is none."""
        if not self.spans_ns:
            return ""
        first_ns = min(first_ns for first_ns, _ in self.spans_ns)
        last_ns = max(last_ns for _, last_ns in self.spans_ns)
        begin_ns = first_ns if self.begin_ns is None else self.begin_ns
        first_s, last_s = ((stamp_ns - begin_ns) / NS_PER_S for stamp_ns in (first_ns, last_ns))
        lost = sorted(self.lost_messages.items())
        counts = ", ".join(f"{count} of {name}" for name, count in lost)
        return (
            f"{len(self.spans_ns)} damaged chunk(s) left out, between {first_s:.1f} s and "
            f"{last_s:.1f} s after its beginning"
        ) + (f"; messages lost with them: {counts}" if counts else "")


class BrokenMcap:
    """An MCAP file without its index, read from the beginning in the order of writing.

    Damaged chunks are left out. At any other broken byte `messages` raises the library's error,
    after all messages before it.
    """

    span_ns: tuple[int, int] | None = None

    def __init__(self, path: Path) -> None:
        """Read the topics. ValueError if this is no MCAP file at all."""
        self._path = path
        self._damage = Damage()
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError("this is no MCAP file")
        topics: dict[Topic, None] = {}
        with suppress(Exception):  # `messages` raises it again.
            for topic, _ in self._records():
                topics[topic] = None
        self.topics = tuple(topics)

    @property
    def loss(self) -> str:
        """Description of the damaged chunks; empty if there are none so far."""
        return str(self._damage)

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """Yield the readable messages of these topics."""
        for topic, message in self._records():
            if message and topic in topics:
                yield BagMessage(topic, message.log_time, message.data)

    def _records(self) -> Iterator[tuple[Topic, Message | None]]:
        """Yield every topic at its announcement, and again with each of its messages."""
        schemas: dict[int, Schema] = {}
        topics: dict[int, Topic] = {}
        nameless = 0
        for record in self._readable_records():
            if isinstance(record, Schema):
                schemas[record.id] = record
            # A channel may refer to a schema in a damaged chunk.
            elif isinstance(record, Channel) and record.schema_id in schemas:
                topics[record.id] = _topic(record, schemas[record.schema_id])
                yield topics[record.id], None
            elif isinstance(record, Message) and record.channel_id in topics:
                yield topics[record.channel_id], record
            elif isinstance(record, Message):
                nameless += 1
                # The file is read more than once: don't count them again.
                lost = self._damage.lost_messages
                lost[_NAMELESS] = max(nameless, lost[_NAMELESS])

    def _readable_records(self) -> Iterator[McapRecord]:
        """Yield all records outside damaged chunks."""
        damage = self._damage
        with self._path.open("rb") as file:
            for record in StreamReader(file, emit_chunks=True, validate_crcs=True).records:
                if not isinstance(record, Chunk):
                    yield record
                    continue
                span_ns = record.message_start_time, record.message_end_time
                damage.begin_ns = span_ns[0] if damage.begin_ns is None else damage.begin_ns
                try:
                    records = breakup_chunk(record, validate_crc=True)
                except Exception:  # A broken byte may raise anything in the libraries.
                    damage.spans_ns.add(span_ns)
                else:
                    yield from records


class BrokenDatabase:
    """A sqlite3 file, including a write-ahead log that its recorder had not merged yet.

    `messages` raises sqlite3.Error at a broken place, after all messages before it.
    """

    span_ns: tuple[int, int] | None = None
    loss = ""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as database:
            rows = database.execute("SELECT id, name, type FROM topics").fetchall()
            self._topics = {number: Topic(name, kind) for number, name, kind in rows}
        self.topics = tuple(self._topics.values())

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """Yield the readable messages of these topics."""
        with self._open() as database:
            query = "SELECT topic_id, timestamp, data FROM messages ORDER BY id"
            for number, stamp_ns, data in database.execute(query):
                if self._topics[number] in topics:
                    yield BagMessage(self._topics[number], stamp_ns, data)

    def _open(self) -> closing[sqlite3.Connection]:
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
