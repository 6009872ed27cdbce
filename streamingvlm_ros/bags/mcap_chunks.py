"""The chunks and the index of an MCAP file. The records are the `mcap` library's."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import BinaryIO

import lz4.frame
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Message,
    MessageIndex,
    Schema,
    Statistics,
)
from mcap.writer import MCAP0_MAGIC as MAGIC

_CHUNK_BYTES = 4 * 2**20
"""Size of a chunk, which is compressed as one and found by the index. A large image is a chunk."""

_ZSTD_LEVEL = 1
"""Three times as fast as level 3 on camera images; the file is a tenth larger."""


class McapChunkWriter:
    """Writes to an open file, and leaves it open.

    It is ours because mcap's own writer can't choose zstd's level: decision 0054.
    """

    def __init__(self, file: BinaryIO, compression: str) -> None:
        """`compression` is 'zstd', 'lz4' or 'none'. Every method raises OSError on a full disk."""
        self._file = file
        self._compression = "" if compression == "none" else compression
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._chunk_indexes: list[ChunkIndex] = []
        self._counts: Counter[int] = Counter()
        self._begin_chunk()
        file.write(MAGIC + _bytes(Header(profile="ros2", library="streamingvlm_ros")))

    def add_schema(self, name: str, encoding: str, *, definition: str) -> int:
        """Announce a message type; return its id."""
        record = Schema(
            id=len(self._schemas) + 1, name=name, encoding=encoding, data=definition.encode()
        )
        self._schemas.append(record)
        record.write(self._chunk)
        return record.id

    def add_channel(self, topic: str, schema_id: int, *, metadata: Mapping[str, str]) -> int:
        """Announce a topic of an announced type; return its id."""
        record = Channel(
            id=len(self._channels) + 1,
            topic=topic,
            message_encoding="cdr",
            metadata=dict(metadata),
            schema_id=schema_id,
        )
        self._channels.append(record)
        record.write(self._chunk)
        return record.id

    def add_message(self, channel_id: int, stamp_ns: int, *, data: bytes) -> None:
        """Add a message to the chunk; end the chunk if it is full."""
        self._offsets[channel_id].append((stamp_ns, self._chunk.count))
        Message(channel_id, stamp_ns, data, stamp_ns, 0).write(self._chunk)
        if self._chunk.count > _CHUNK_BYTES:
            self.end_chunk()

    def end_chunk(self) -> None:
        """Write the chunk if it holds a message. The file is then readable up to here."""
        if not self._offsets:
            return
        plain = self._chunk.end()
        stamps_ns = [stamp_ns for offsets in self._offsets.values() for stamp_ns, _ in offsets]
        chunk = Chunk(
            compression=self._compression,
            data=_compress(plain, self._compression),
            message_start_time=min(stamps_ns),
            message_end_time=max(stamps_ns),
            uncompressed_crc=zlib.crc32(plain),
            uncompressed_size=len(plain),
        )
        self._write(chunk)
        self._begin_chunk()

    def finish(self) -> None:
        """Write the last chunk and the index, which completes the file."""
        self.end_chunk()
        self._file.write(_bytes(DataEnd(data_section_crc=0)))
        start = self._file.tell()
        records = *self._schemas, *self._channels, self._statistics(), *self._chunk_indexes
        # The checksum also covers the footer's fields before it.
        footer = Footer(summary_start=start, summary_offset_start=0, summary_crc=0)
        summary = _bytes(*records, footer)[:-4]
        self._file.write(summary + zlib.crc32(summary).to_bytes(4, "little") + MAGIC)

    def _begin_chunk(self) -> None:
        self._chunk = RecordBuilder()
        self._offsets: dict[int, list[tuple[int, int]]] = defaultdict(list)
        """Stamp and offset in the chunk of each channel's messages."""

    def _write(self, chunk: Chunk) -> None:
        """Write the chunk and the index of its messages; note both for the file's index."""
        start = self._file.tell()
        self._file.write(_bytes(chunk))
        end, indexes, index_offsets = self._file.tell(), b"", {}
        for channel_id, offsets in self._offsets.items():
            index_offsets[channel_id] = end + len(indexes)
            indexes += _bytes(MessageIndex(channel_id, offsets))
            self._counts[channel_id] += len(offsets)
        self._file.write(indexes)
        self._chunk_indexes.append(
            ChunkIndex(
                chunk_length=end - start,
                chunk_start_offset=start,
                compression=chunk.compression,
                compressed_size=len(chunk.data),
                message_start_time=chunk.message_start_time,
                message_end_time=chunk.message_end_time,
                message_index_length=len(indexes),
                message_index_offsets=index_offsets,
                uncompressed_size=chunk.uncompressed_size,
            )
        )

    def _statistics(self) -> Statistics:
        return Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._chunk_indexes),
            message_count=self._counts.total(),
            message_start_time=min((i.message_start_time for i in self._chunk_indexes), default=0),
            message_end_time=max((i.message_end_time for i in self._chunk_indexes), default=0),
            metadata_count=0,
            schema_count=len(self._schemas),
        )


def _compress(plain: bytes, compression: str) -> bytes:
    if compression == "zstd":
        return zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(plain)
    return lz4.frame.compress(plain) if compression == "lz4" else plain


def _bytes(*records: McapRecord) -> bytes:
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return bytes(builder.end())
