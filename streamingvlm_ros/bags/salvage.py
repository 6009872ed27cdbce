"""Files of a bag that was never finished, or is damaged: read until it goes no further.

The library wants a file's index, which a recorder that was killed never wrote.
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
    """The chunks of a file that can't be read; all others are."""

    begin_ns: int | None = None
    """When the file begins; None if that is not known."""
    spans_ns: set[tuple[int, int]] = field(default_factory=set)
    """When the first and the last message of each were recorded."""
    lost: Counter[str] = field(default_factory=Counter)
    """How many messages of each topic are lost with them, as far as is known."""

    def __str__(self) -> str:
        """A sentence; empty if there is none."""
        if not self.spans_ns:
            return ""
        first_ns = min(first_ns for first_ns, _ in self.spans_ns)
        last_ns = max(last_ns for _, last_ns in self.spans_ns)
        begin_ns = first_ns if self.begin_ns is None else self.begin_ns
        first_s, last_s = ((its - begin_ns) / NS_PER_S for its in (first_ns, last_ns))
        counts = ", ".join(f"{count} of {name}" for name, count in sorted(self.lost.items()))
        return (
            f"{len(self.spans_ns)} damaged chunk(s) left out, between {first_s:.1f} s and "
            f"{last_s:.1f} s after its beginning"
        ) + (f"; messages lost with them: {counts}" if counts else "")


class BrokenMcap:
    """An MCAP file from its beginning on, in the order in which it was written.

    A damaged chunk is left out. `messages` raises whatever the library makes of another broken
    byte, after all that came before it.
    """

    span_ns: tuple[int, int] | None = None

    def __init__(self, path: Path) -> None:
        """ValueError if it is no MCAP file at all."""
        self._path = path
        self._damage = Damage()
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError("this is no MCAP file")
        topics: dict[Topic, None] = {}
        with suppress(Exception):  # `messages` will meet it again
            for topic, _ in self._records():
                topics[topic] = None
        self.topics = tuple(topics)

    @property
    def lost(self) -> str:
        """What was in chunks that can't be read."""
        return str(self._damage)

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """The messages of these topics that can be read."""
        for topic, message in self._records():
            if message and topic in topics:
                yield BagMessage(topic, message.log_time, message.data)

    def _records(self) -> Iterator[tuple[Topic, Message | None]]:
        """Every topic when it is announced, and with every message of it."""
        schemas: dict[int, Schema] = {}
        topics: dict[int, Topic] = {}
        nameless = 0
        for record in self._unpacked():
            if isinstance(record, Schema):
                schemas[record.id] = record
            # What was announced in a damaged chunk is not known.
            elif isinstance(record, Channel) and record.schema_id in schemas:
                topics[record.id] = _topic(record, schemas[record.schema_id])
                yield topics[record.id], None
            elif isinstance(record, Message) and record.channel_id in topics:
                yield topics[record.channel_id], record
            elif isinstance(record, Message):
                nameless += 1
                # This is read more than once.
                self._damage.lost[_NAMELESS] = max(nameless, self._damage.lost[_NAMELESS])

    def _unpacked(self) -> Iterator[McapRecord]:
        """All records but those in damaged chunks."""
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
                except Exception:  # whatever a broken byte leads the libraries to
                    damage.spans_ns.add(span_ns)
                else:
                    yield from records


class BrokenDatabase:
    """A sqlite3 file, with what its recorder had not yet merged into it.

    `messages` raises sqlite3.Error where it is broken, after all that came before it.
    """

    span_ns: tuple[int, int] | None = None
    lost = ""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as database:
            rows = database.execute("SELECT id, name, type FROM topics").fetchall()
            self._topics = {number: Topic(name, kind) for number, name, kind in rows}
        self.topics = tuple(self._topics.values())

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """The messages of these topics that can be read."""
        with self._opened() as database:
            query = "SELECT topic_id, timestamp, data FROM messages ORDER BY id"
            for number, stamp_ns, data in database.execute(query):
                if self._topics[number] in topics:
                    yield BagMessage(self._topics[number], stamp_ns, data)

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
