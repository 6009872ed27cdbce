"""One MCAP file of a bag while it is written."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .mcap_chunks import McapChunkWriter
from .types import Topic


@dataclass(frozen=True)
class _Checkpoint:
    """State of the file at its last flush."""

    size_bytes: int
    counts: Counter[str]
    first_ns: int
    last_ns: int


class McapFile:
    """Takes messages of any topic. After `flush`, killing the process loses none of them."""

    def __init__(self, path: Path, compression: str) -> None:
        """`compression` is 'zstd', 'lz4' or 'none'. OSError if the file can't be created."""
        self.path = path
        self.counts: Counter[str] = Counter()
        """Number of messages, by topic."""
        self.first_ns = self.last_ns = 0
        """Smallest and largest stamp of the messages; both 0 while there are none."""
        self._channels: dict[Topic, int] = {}
        self._schemas: dict[tuple[str, str, str], int] = {}
        self._file = path.open("xb")
        try:
            self._chunks = McapChunkWriter(self._file, compression)
            self.flush()
        except OSError:
            with suppress(OSError):
                self._file.close()
            path.unlink(missing_ok=True)
            raise

    @property
    def size_bytes(self) -> int:
        """Size of the file, without the unflushed chunk."""
        return self._file.tell()

    def write(self, topic: Topic, stamp_ns: int, *, data: bytes) -> None:
        """Add a message that was recorded at `stamp_ns`."""
        channel_id = self._channels.get(topic) or self._add_topic(topic)
        self.first_ns = min(self.first_ns, stamp_ns) if self.counts else stamp_ns
        self.last_ns = max(self.last_ns, stamp_ns)
        self.counts[topic.name] += 1
        self._chunks.add_message(channel_id, stamp_ns, data=data)

    def flush(self) -> None:
        """End the chunk, and hand everything to the operating system."""
        self._chunks.end_chunk()
        self._flush_file()

    def close(self) -> None:
        """Write the index; nothing can be added then. OSError if the disk has no room for it."""
        try:
            self._chunks.finish()
            self._flush_file()
            self._file.close()
        except OSError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close the file after an error, cut back to the last flush and without an index.

        A file that is closed already stays unchanged.
        """
        with suppress(OSError):  # Closing tries to write the failed bytes again.
            self._file.close()
        with suppress(OSError):  # The error may be that the file was deleted.
            os.truncate(self.path, self._checkpoint.size_bytes)
        self.counts = self._checkpoint.counts
        self.first_ns, self.last_ns = self._checkpoint.first_ns, self._checkpoint.last_ns

    def _flush_file(self) -> None:
        """Hand the complete chunks to the operating system."""
        self._file.flush()
        self._checkpoint = _Checkpoint(
            self.size_bytes, self.counts.copy(), self.first_ns, self.last_ns
        )

    def _add_topic(self, topic: Topic) -> int:
        # Publishers of one type may have been built with different definitions of it.
        key = topic.type, topic.encoding, topic.definition
        if key not in self._schemas:
            self._schemas[key] = self._chunks.add_schema(
                topic.type, topic.encoding, definition=topic.definition
            )
        channel_id = self._chunks.add_channel(
            topic.name,
            self._schemas[key],
            metadata={"offered_qos_profiles": topic.qos, "topic_type_hash": topic.hash},
        )
        self._channels[topic] = channel_id
        return channel_id
