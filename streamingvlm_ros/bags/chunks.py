"""The MCAP format as it is written: messages in chunks, and an index of them at the end.

The records are the `mcap` library's. Its own writer is not used, because it copies a message five
times and compresses with zstd's level 3, which is too slow for cameras: decision 0054.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from .chunk import Chunk

MAGIC = b"\x89MCAP0\r\n"

_CHUNK_BYTES = 4 * 2**20
"""What is compressed together, and found by the file's index. One large image is a chunk itself."""

_FOOTER = struct.Struct("<BQQQ")
"""The footer without its checksum, which it is a part of."""


class Chunks:
    """Writes to a file that is open, and stays so."""

    def __init__(self, file: BinaryIO, compression: str) -> None:
        """`compression` is 'zstd', 'lz4' or 'none'. OSError, here as below, if the disk is full."""
        self._file = file
        self._compression = "" if compression == "none" else compression
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._indices: list[ChunkIndex] = []
        self._counts: Counter[int] = Counter()
        self._chunk = Chunk()
        file.write(MAGIC + _bytes([Header(profile="ros2", library="streamingvlm_ros")]))

    def schema(self, name: str, encoding: str, definition: str) -> int:
        """Announce a type; its number."""
        record = Schema(
            id=len(self._schemas) + 1, name=name, encoding=encoding, data=definition.encode()
        )
        self._schemas.append(record)
        self._chunk.add(_bytes([record]))
        return record.id

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
        self._chunk.add(_bytes([record]))
        return record.id

    def message(self, channel: int, stamp_ns: int, data: bytes) -> None:
        """Add a message."""
        self._chunk.message(channel, stamp_ns, data)
        if self._chunk.size_bytes > _CHUNK_BYTES:
            self.end()

    def end(self) -> None:
        """End the chunk, if there is a message in it: what is in the file then can be read."""
        chunk, entries = self._chunk, self._chunk.entries()
        if not entries:
            return
        packed, start = chunk.packed(self._compression), self._file.tell()
        size = sum(map(len, packed))
        head = chunk.head(self._compression, size)
        self._file.write(head)
        self._file.writelines(packed)
        offsets, length = self._write_entries(entries)
        first_ns, last_ns = chunk.span_ns
        self._indices.append(
            ChunkIndex(
                chunk_length=len(head) + size,
                chunk_start_offset=start,
                compression=self._compression,
                compressed_size=size,
                message_start_time=first_ns,
                message_end_time=last_ns,
                message_index_length=length,
                message_index_offsets=offsets,
                uncompressed_size=chunk.size_bytes,
            )
        )
        self._counts.update({channel: len(places) for channel, places in entries.items()})
        self._chunk = Chunk()

    def finish(self) -> None:
        """End the last chunk and write the index: the file is whole."""
        self.end()
        self._file.write(_bytes([DataEnd(data_section_crc=0)]))
        start = self._file.tell()
        summary = offsets = b""
        for opcode, group in self._summary().items():
            if written := _bytes(group):
                offset = SummaryOffset(
                    group_opcode=opcode,
                    group_start=start + len(summary),
                    group_length=len(written),
                )
                offsets += _bytes([offset])
                summary += written
        ends = start, start + len(summary)
        crc = zlib.crc32(summary + offsets + _FOOTER.pack(Opcode.FOOTER, 20, *ends))
        footer = Footer(summary_start=ends[0], summary_offset_start=ends[1], summary_crc=crc)
        self._file.write(summary + offsets + _bytes([footer]) + MAGIC)

    def _summary(self) -> dict[Opcode, Sequence[McapRecord]]:
        return {
            Opcode.SCHEMA: self._schemas,
            Opcode.CHANNEL: self._channels,
            Opcode.STATISTICS: [self._statistics()],
            Opcode.CHUNK_INDEX: self._indices,
        }

    def _write_entries(
        self, entries: Mapping[int, list[tuple[int, int]]]
    ) -> tuple[dict[int, int], int]:
        """Where each channel's index is, and how long all of them are."""
        start, written, offsets = self._file.tell(), b"", {}
        for channel, places in entries.items():
            offsets[channel] = start + len(written)
            written += _bytes([MessageIndex(channel_id=channel, records=places)])
        self._file.write(written)
        return offsets, len(written)

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


def _bytes(records: Iterable[McapRecord]) -> bytes:
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return bytes(builder.end())
