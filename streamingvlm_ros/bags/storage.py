"""One file of a bag, whole or not."""

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
"""How a bag's files end; the latter two are compressed as a whole."""

_ENCODINGS = {
    MessageDefinitionFormat.MSG: "ros2msg",
    MessageDefinitionFormat.IDL: "ros2idl",
    MessageDefinitionFormat.NONE: "",
}


class BagFile(Protocol):
    """Topics and messages of one file."""

    topics: tuple[Topic, ...]
    span_ns: tuple[int, int] | None
    """When the first and the last message were recorded; None without any, or if unknown."""

    @property
    def lost(self) -> str:
        """What `messages` left out because it is damaged; empty if nothing, so far."""
        ...

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """The messages of these topics, until the end or until what can't be read raises.

        Those recorded before `since_ns` may be left out.
        """
        ...


class IndexedFile:
    """A file as its recorder finished it, read by its index: in the order of time."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        """What can't be opened so raises."""
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
    def lost(self) -> str:
        """What was in chunks that can't be read."""
        return str(self._damage)

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """The messages of these topics since then, without those of damaged chunks."""
        wanted = [c for c in self._reader.connections if self._topics[c.id] in topics]
        given = 0
        while not self._is_all_damaged():
            chunks = self._chunk_count()
            try:
                found = self._reader.messages(wanted, start=since_ns)
                # After damage it begins anew, and what came before is the same again.
                for connection, stamp_ns, data in islice(found, given, None):
                    given += 1
                    yield BagMessage(self._topics[connection.id], stamp_ns, data)
                return
            except Exception:
                self._leave_out_damaged()
                if self._chunk_count() == chunks:  # it is something else
                    raise

    def _chunk_count(self) -> int:
        return len(self._mcap.chunks) if self._mcap else 0

    def _is_all_damaged(self) -> bool:
        return bool(self._damage.spans_ns) and not self._chunk_count()

    def _leave_out_damaged(self) -> None:
        """Take those chunks out of the index that can't be read. It looks at all of them."""
        if not self._mcap or not self._mcap.bio:
            return
        for chunk in tuple(self._mcap.chunks):
            if not _is_whole(chunk, self._mcap.bio):
                self._mcap.chunks.remove(chunk)
                self._damage.spans_ns.add((chunk.message_start_time, chunk.message_end_time))
                for number, count in chunk.channel_count.items():
                    self._damage.lost[self._topics[number].name] += count


def open_file(path: Path, stack: ExitStack) -> tuple[BagFile, str]:
    """The file, closed with `stack`; and why it can be read only in part, or ''.

    What nothing can be read of raises.
    """
    path.stat()
    if path.suffix == ".zstd":
        path = _unpacked(path, Path(stack.enter_context(TemporaryDirectory())))
    if path.with_name(f"{path.name}-wal").exists():
        return BrokenDatabase(path), "its recorder did not finish it"
    try:
        return IndexedFile(path, stack), ""
    except Exception as error:  # whatever a broken byte leads the library to
        broken = BrokenMcap if path.suffix == ".mcap" else BrokenDatabase
        return broken(path), str(error)


def _is_whole(chunk: ChunkInfo, file: BinaryIO) -> bool:
    try:
        deque(msgsrc(chunk, {}, 0, 0, file), maxlen=0)
    except Exception:  # whatever a broken byte leads the library to
        return False
    return True


def _unpacked(path: Path, folder: Path) -> Path:
    """The file as it was before it was compressed as a whole, or as much of it as there is."""
    plain = folder / path.stem
    with path.open("rb") as packed, plain.open("wb") as unpacked, suppress(zstandard.ZstdError):
        zstandard.ZstdDecompressor().copy_stream(packed, unpacked)
    return plain


def _topic(connection: Connection) -> Topic:
    definition, about = connection.msgdef, connection.ext
    offered = about.offered_qos_profiles if isinstance(about, ConnectionExtRosbag2) else []
    return Topic(
        connection.topic,
        connection.msgtype,
        definition.data,
        _ENCODINGS[definition.format],
        connection.digest,
        yaml.safe_dump(dump_qos_v9(offered)) if offered else "",
    )
