"""Opening one file of a bag, complete or damaged."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Protocol

import yaml
import zstandard
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.metadata import dump_qos_v9
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, msgsrc

from .salvage import BrokenDatabase, BrokenMcap, Damage
from .types import BagMessage, Topic

STORAGES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
"""Endings of a bag's files; the last two are compressed files."""

_ENCODINGS = {
    MessageDefinitionFormat.MSG: "ros2msg",
    MessageDefinitionFormat.IDL: "ros2idl",
    MessageDefinitionFormat.NONE: "",
}


class BagFile(Protocol):
    """Topics and messages of one file."""

    topics: tuple[Topic, ...]
    span_ns: tuple[int, int] | None
    """First and last stamp; None if there is no message, or if unknown."""

    @property
    def loss(self) -> str:
        """Description of the damage that `messages` left out; empty if there is none so far."""
        ...

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """Yield the messages of these topics; raise at an unreadable place.

        Messages recorded before `since_ns` may be left out.
        """
        ...


class IndexedFile:
    """A finished file, read by its index in the order of stamps."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        """Open the file; any error means that it has no usable index."""
        self._reader = stack.enter_context(Reader(path))
        self._topics = {c.id: _topic(c) for c in self._reader.connections}
        self.topics = tuple(self._topics.values())
        count, first_ns, end_ns = (
            self._reader.message_count,
            self._reader.start_time,
            self._reader.end_time,
        )
        self.span_ns = (first_ns, end_ns - 1) if count else None
        storage = self._reader.storage
        self._mcap = storage if isinstance(storage, McapReader) else None
        self._damage = Damage(first_ns)

    @property
    def loss(self) -> str:
        """Description of the damaged chunks; empty if there are none so far."""
        return str(self._damage)

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """Yield the messages of these topics from `since_ns` on, without damaged chunks."""
        wanted = [c for c in self._reader.connections if self._topics[c.id] in topics]
        yielded = 0
        while not self._is_all_damaged():
            chunks = self._chunk_count()
            try:
                messages = self._reader.messages(wanted, start=since_ns)
                # After damage, iteration begins anew: skip the messages that were yielded before.
                for connection, stamp_ns, data in islice(messages, yielded, None):
                    yielded += 1
                    yield BagMessage(self._topics[connection.id], stamp_ns, data)
                return
            except Exception:
                self._drop_damaged_chunks()
                if self._chunk_count() == chunks:  # The error has another cause.
                    raise

    def _chunk_count(self) -> int:
        return len(self._mcap.chunks) if self._mcap else 0

    def _is_all_damaged(self) -> bool:
        return bool(self._damage.spans_ns) and not self._chunk_count()

    def _drop_damaged_chunks(self) -> None:
        """Read every chunk, and remove the unreadable ones from the index."""
        if not self._mcap or not self._mcap.bio:
            return
        for chunk in tuple(self._mcap.chunks):
            if not _is_readable(chunk, self._mcap.bio):
                self._mcap.chunks.remove(chunk)
                self._damage.spans_ns.add((chunk.message_start_time, chunk.message_end_time))
                for number, count in chunk.channel_count.items():
                    self._damage.lost_messages[self._topics[number].name] += count


def open_file(path: Path, stack: ExitStack) -> tuple[BagFile, str]:
    """Open a file, to be closed by `stack`; also return why it is readable only in part, or ''.

    Any exception means that nothing of it can be read.
    """
    path.stat()
    if path.suffix == ".zstd":
        path = _decompress(path, Path(stack.enter_context(TemporaryDirectory())))
    if path.with_name(f"{path.name}-wal").exists():
        return BrokenDatabase(path), "its recorder did not finish it"
    try:
        return IndexedFile(path, stack), ""
    except Exception as error:  # A broken byte may raise anything in the library.
        broken = BrokenMcap if path.suffix == ".mcap" else BrokenDatabase
        return broken(path), str(error)


def _is_readable(chunk: ChunkInfo, file: BinaryIO) -> bool:
    try:
        deque(msgsrc(chunk, {}, 0, 0, file), maxlen=0)
    except Exception:  # A broken byte may raise anything in the library.
        return False
    return True


def _decompress(path: Path, folder: Path) -> Path:
    """Decompress a file into `folder`, as far as its data goes; return the new path."""
    plain = folder / path.stem
    with path.open("rb") as packed, plain.open("wb") as unpacked, suppress(zstandard.ZstdError):
        zstandard.ZstdDecompressor().copy_stream(packed, unpacked)
    return plain


def _topic(connection: Connection) -> Topic:
    definition, extension = connection.msgdef, connection.ext
    offered = extension.offered_qos_profiles if isinstance(extension, ConnectionExtRosbag2) else []
    return Topic(
        connection.topic,
        connection.msgtype,
        definition.data,
        _ENCODINGS[definition.format],
        connection.digest,
        yaml.safe_dump(dump_qos_v9(offered)) if offered else "",
    )
