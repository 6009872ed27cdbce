"""The MCAP format as it is written: messages in chunks, and an index of them at the end.

The records are the `mcap` library's. Its own writer is not used, because it compresses with zstd's
level 3, which is too slow for cameras, and can't be told another. Delete this when it can: decision
0054.
"""

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
"""What is compressed together, and found by the file's index. One large image is a chunk itself."""

_ZSTD_LEVEL = 1
"""Three times as fast as level 3 on a camera's images, for a file that is a tenth larger."""


class McapChunkWriter:
    """Writes to a file that is open, and stays so."""

    def __init__(self, file: BinaryIO, compression: str) -> None:
        """`compression` is 'zstd', 'lz4' or 'none'. OSError, here as below, if the disk is full."""
        self._file = file
        self._compression = "" if compression == "none" else compression
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._indices: list[ChunkIndex] = []
        self._counts: Counter[int] = Counter()
        self._begin()
        file.write(MAGIC + _bytes(Header(profile="ros2", library="streamingvlm_ros")))

    def schema(self, name: str, encoding: str, definition: str) -> int:
        """Announce a type; its number."""
        number = len(self._schemas) + 1
        record = Schema(id=number, name=name, encoding=encoding, data=definition.encode())
        self._schemas.append(record)
        record.write(self._chunk)
        return number

    def channel(self, topic: str, schema: int, about: Mapping[str, str]) -> int:
        """Announce a topic of such a type; its number."""
        record = Channel(
            id=len(self._channels) + 1,
            topic=topic,
            message_encoding="cdr",
            metadata=dict(about),
            schema_id=schema,
        )
        self._channels.append(record)
        record.write(self._chunk)
        return record.id

    def message(self, channel: int, stamp_ns: int, data: bytes) -> None:
        """Add a message."""
        self._entries[channel].append((stamp_ns, self._chunk.count))
        Message(channel, stamp_ns, data, stamp_ns, 0).write(self._chunk)
        if self._chunk.count > _CHUNK_BYTES:
            self.end()

    def end(self) -> None:
        """End the chunk, if there is a message in it: what is in the file then can be read."""
        if not self._entries:
            return
        plain = self._chunk.end()
        stamps_ns = [stamp_ns for of_one in self._entries.values() for stamp_ns, _ in of_one]
        chunk = Chunk(
            compression=self._compression,
            data=_packed(plain, self._compression),
            message_start_time=min(stamps_ns),
            message_end_time=max(stamps_ns),
            uncompressed_crc=zlib.crc32(plain),
            uncompressed_size=len(plain),
        )
        self._write(chunk)
        self._begin()

    def finish(self) -> None:
        """End the last chunk and write the index: the file is whole."""
        self.end()
        self._file.write(_bytes(DataEnd(data_section_crc=0)))
        start = self._file.tell()
        records = *self._schemas, *self._channels, self._statistics(), *self._indices
        # The footer's checksum is of all that is before it in the footer, too.
        footer = Footer(summary_start=start, summary_offset_start=0, summary_crc=0)
        summary = _bytes(*records, footer)[:-4]
        self._file.write(summary + zlib.crc32(summary).to_bytes(4, "little") + MAGIC)

    def _begin(self) -> None:
        self._chunk = RecordBuilder()
        self._entries: dict[int, list[tuple[int, int]]] = defaultdict(list)
        """Stamps of each channel's messages, and where they are in the chunk."""

    def _write(self, chunk: Chunk) -> None:
        """The chunk, where each channel's messages are in it, and for the end where all this is."""
        start = self._file.tell()
        self._file.write(_bytes(chunk))
        end, written, offsets = self._file.tell(), b"", {}
        for channel, entries in self._entries.items():
            offsets[channel] = end + len(written)
            written += _bytes(MessageIndex(channel, entries))
            self._counts[channel] += len(entries)
        self._file.write(written)
        self._indices.append(
            ChunkIndex(
                chunk_length=end - start,
                chunk_start_offset=start,
                compression=chunk.compression,
                compressed_size=len(chunk.data),
                message_start_time=chunk.message_start_time,
                message_end_time=chunk.message_end_time,
                message_index_length=len(written),
                message_index_offsets=offsets,
                uncompressed_size=chunk.uncompressed_size,
            )
        )

    def _statistics(self) -> Statistics:
        return Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._indices),
            message_count=self._counts.total(),
            message_start_time=min((i.message_start_time for i in self._indices), default=0),
            message_end_time=max((i.message_end_time for i in self._indices), default=0),
            metadata_count=0,
            schema_count=len(self._schemas),
        )


def _packed(plain: bytes, compression: str) -> bytes:
    if compression == "zstd":
        return zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(plain)
    return lz4.frame.compress(plain) if compression == "lz4" else plain


def _bytes(*records: McapRecord) -> bytes:
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return bytes(builder.end())
