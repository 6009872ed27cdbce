"""One MCAP file while it is written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mcap.writer import CompressionType, Writer

from .recorded import Topic

_CHUNK_BYTES = 4 * 2**20
"""What is compressed together, and found by the file's index. One large image is a chunk itself."""

_COMPRESSION = {kind.name.lower(): kind for kind in CompressionType}


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
        self._schemas: dict[str, int] = {}
        self._file = path.open("xb")
        self._writer = Writer(self._file, _CHUNK_BYTES, _COMPRESSION[compression])
        self._writer.start("ros2")
        self.flush()

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
        self._writer.add_message(channel, stamp_ns, data, stamp_ns)

    def flush(self) -> None:
        """End the chunk, and hand everything to the system."""
        self._writer.flush()

    def close(self) -> None:
        """Write the index; nothing can be added then."""
        try:
            self._writer.finish()
        finally:
            self._file.close()

    def _add(self, topic: Topic) -> int:
        if topic.type not in self._schemas:
            self._schemas[topic.type] = self._writer.register_schema(
                topic.type, topic.encoding, topic.definition.encode()
            )
        about = {"offered_qos_profiles": topic.qos, "topic_type_hash": topic.hash}
        channel = self._writer.register_channel(topic.name, "cdr", self._schemas[topic.type], about)
        self._channels[topic] = channel
        return channel
