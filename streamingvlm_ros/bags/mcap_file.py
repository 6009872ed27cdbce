"""One MCAP file while it is written."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .mcap_chunks import McapChunkWriter
from .types import Topic


@dataclass(frozen=True)
class _Mark:
    """What was in the file when it was last whole."""

    size_bytes: int
    counts: Counter[str]
    first_ns: int
    last_ns: int


class McapFile:
    """Takes messages of any topic. After `flush` a killed process loses nothing of them."""

    def __init__(self, path: Path, compression: str) -> None:
        """`compression` is 'zstd', 'lz4' or 'none'. OSError if the file can't be made."""
        self.path = path
        self.counts: Counter[str] = Counter()
        """Messages of each topic."""
        self.first_ns = self.last_ns = 0
        """Between which stamps they lie, both 0 while there are none."""
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
        """Its size so far, without what is not flushed."""
        return self._file.tell()

    def write(self, topic: Topic, stamp_ns: int, data: bytes) -> None:
        """Add a message that was recorded at `stamp_ns`."""
        channel = self._channels.get(topic) or self._add(topic)
        self.first_ns = min(self.first_ns, stamp_ns) if self.counts else stamp_ns
        self.last_ns = max(self.last_ns, stamp_ns)
        self.counts[topic.name] += 1
        self._chunks.message(channel, stamp_ns, data)

    def flush(self) -> None:
        """End the chunk, and hand everything to the system."""
        self._chunks.end()
        self._keep()

    def close(self) -> None:
        """Write the index; nothing can be added then. OSError where there is no room for it."""
        try:
            self._chunks.finish()
            self._keep()
            self._file.close()
        except OSError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """End it after an error with what was flushed and nothing else: without an index.

        One that is closed already stays as it is.
        """
        with suppress(OSError):  # once more what could not be written
            self._file.close()
        with suppress(OSError):  # it may be gone, and that be the error
            os.truncate(self.path, self._mark.size_bytes)
        self.counts = self._mark.counts
        self.first_ns, self.last_ns = self._mark.first_ns, self._mark.last_ns

    def _keep(self) -> None:
        """Hand to the system what is in the file: it is whole."""
        self._file.flush()
        self._mark = _Mark(self.size_bytes, self.counts.copy(), self.first_ns, self.last_ns)

    def _add(self, topic: Topic) -> int:
        # Publishers of one type may have been built with different definitions of it.
        schema = topic.type, topic.encoding, topic.definition
        if schema not in self._schemas:
            self._schemas[schema] = self._chunks.schema(*schema)
        about = {"offered_qos_profiles": topic.qos, "topic_type_hash": topic.hash}
        channel = self._chunks.channel(topic.name, self._schemas[schema], about)
        self._channels[topic] = channel
        return channel
