"""The topics and blocks of an MCAP file.

Everything but messages is optional in the format. So a file is walked from record to record, and an
index only makes this quicker: the walk jumps over indexed chunks, and finds what no index lists.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, ChunkIndex, Schema
from mcap.summary import Summary

from .decompression import decompress
from .mcap_chunks import MAGIC

_RECORD = struct.Struct("<BQ")
"""Opcode and length, before a record's content."""
MESSAGE = struct.Struct("<HIQQ")
"""Channel, sequence, log time and publish time, before a message's data."""
_CHUNK = struct.Struct("<QQQII")
"""First and last log time, size, checksum and length of the compression's name, before the name."""
_LENGTH = struct.Struct("<Q")
_HEAD_BYTES = _RECORD.size + _CHUNK.size
_INDEX = struct.Struct("<HI")
"""Channel and bytes of entries, before the entries of a message index."""
_INDEX_ENTRY_BYTES = 16

_MAX_RUN_BYTES = 4 * 2**20
"""Messages outside chunks are read in runs of about this size."""

_NO_END = "its end is missing: the recorder was killed, or the file was copied only in part"


class Block(NamedTuple):
    """A chunk, or a run of messages outside chunks. It is read as one."""

    offset: int
    end: int
    first_ns: int
    last_ns: int
    is_chunk: bool = True
    channel_ids: frozenset[int] = frozenset()
    """Channels of the messages in it; empty if unknown."""


@dataclass
class McapLayout:
    """Schemas and channels by id, and the blocks in the order of writing."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    incomplete: str = ""
    """Why a part of the file can't be found; empty if all of it is."""

    def learn(self, opcode: int, content: bytes | memoryview) -> None:
        """Remember a schema or a channel; ignore other records."""
        stream = ReadDataStream(BytesIO(content))
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            self.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(stream)
            self.channels[channel.id] = channel

    def add_message(self, offset: int, end: int, *, stamp_ns: int) -> None:
        """Add a message outside chunks to the run before it, or begin a run."""
        last = self.blocks[-1] if self.blocks else None
        if last and not last.is_chunk and last.end == offset < last.offset + _MAX_RUN_BYTES:
            first_ns, last_ns = min(last.first_ns, stamp_ns), max(last.last_ns, stamp_ns)
            self.blocks[-1] = Block(last.offset, end, first_ns, last_ns, is_chunk=False)
        else:
            self.blocks.append(Block(offset, end, stamp_ns, stamp_ns, is_chunk=False))


def read_layout(file: BinaryIO) -> McapLayout:
    """Find the topics and blocks of a file.

    Raises:
        ValueError: This is no MCAP file.
    """
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        raise ValueError("this is no MCAP file")
    summary = _read_summary(file) or Summary()
    layout = McapLayout(dict(summary.schemas), dict(summary.channels))
    _walk(file, layout, indexes={i.chunk_start_offset: i for i in summary.chunk_indexes})
    if not _lists_all_topics(layout, summary):
        _learn_from_chunks(file, layout, summary=summary)
    return layout


def read_block(file: BinaryIO, block: Block) -> memoryview:
    """Return the records of a block. Any exception means that it is damaged."""
    file.seek(block.offset)
    data = memoryview(file.read(block.end - block.offset))
    return _decompress_chunk(data[_RECORD.size :]) if block.is_chunk else data


def _decompress_chunk(content: memoryview) -> memoryview:
    """Return the records of a chunk without copying more than needed: images are large."""
    _, _, size, checksum, name_bytes = _CHUNK.unpack_from(content)
    name_end = _CHUNK.size + name_bytes
    compression = bytes(content[_CHUNK.size : name_end]).decode()
    (packed_bytes,) = _LENGTH.unpack_from(content, name_end)
    begin = name_end + _LENGTH.size
    plain = decompress(content[begin : begin + packed_bytes], compression)
    if len(plain) != size:
        raise ValueError(f"it has {len(plain)} bytes instead of {size}")
    if checksum not in (0, zlib.crc32(plain)):
        raise ValueError("its checksum is wrong")
    return memoryview(plain)


def records(data: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield the opcode of each record, and where its content begins and ends."""
    end = 0
    while end < len(data):
        opcode, length = _RECORD.unpack_from(data, end)
        begin = end + _RECORD.size
        end = begin + length
        if end > len(data):
            raise ValueError("a record is cut off")
        yield opcode, begin, end


def indexed_counts(file: BinaryIO, chunk: Block) -> Counter[int]:
    """Return the number of messages in a chunk by channel, as far as its message index tells."""
    counts: Counter[int] = Counter()
    position, size = chunk.end, _RECORD.size + _INDEX.size
    while True:
        file.seek(position)
        head = file.read(size).ljust(size, b"\0")
        opcode, length = _RECORD.unpack_from(head)
        if opcode != Opcode.MESSAGE_INDEX:
            return counts
        channel_id, entries_bytes = _INDEX.unpack_from(head, _RECORD.size)
        counts[channel_id] += entries_bytes // _INDEX_ENTRY_BYTES
        position += _RECORD.size + length


def _read_summary(file: BinaryIO) -> Summary | None:
    """Return the summary at the end of the file; None if it is missing or damaged."""
    size = file.seek(0, 2)
    file.seek(0)
    with suppress(Exception):  # A broken byte may raise anything in the library.
        return SeekingReader(file, record_size_limit=size).get_summary()
    return None


def _walk(file: BinaryIO, layout: McapLayout, *, indexes: dict[int, ChunkIndex]) -> None:
    """Add the blocks, and the topics that are announced outside chunks."""
    size, position = file.seek(0, 2), len(MAGIC)
    while position < size:
        index = indexes.get(position)
        if index and position + index.chunk_length + index.message_index_length < size:
            layout.blocks.append(_indexed_block(index))
            position += index.chunk_length + index.message_index_length
            continue
        file.seek(position)
        head = file.read(_HEAD_BYTES).ljust(_HEAD_BYTES, b"\0")
        opcode, length = _RECORD.unpack_from(head)
        end = position + _RECORD.size + length
        if opcode == Opcode.FOOTER:
            return
        if not opcode or end > size:
            # An index may know where the next chunk is.
            following = [offset for offset in indexes if offset > position]
            if following or not opcode:
                layout.incomplete = f"it is broken at byte {position:,}"
            position = min(following, default=size)
            continue
        _add_record(file, layout, head=head, offset=position, end=end)
        position = end
    layout.incomplete = layout.incomplete or _NO_END


def _add_record(file: BinaryIO, layout: McapLayout, *, head: bytes, offset: int, end: int) -> None:
    opcode = head[0]
    if opcode == Opcode.CHUNK:
        first_ns, last_ns, *_ = _CHUNK.unpack_from(head, _RECORD.size)
        layout.blocks.append(Block(offset, end, first_ns, last_ns))
    elif opcode == Opcode.MESSAGE:
        _, _, stamp_ns, _ = MESSAGE.unpack_from(head, _RECORD.size)
        layout.add_message(offset, end, stamp_ns=stamp_ns)
    elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
        file.seek(offset + _RECORD.size)
        with suppress(Exception):  # as above
            layout.learn(opcode, file.read(end - offset - _RECORD.size))


def _indexed_block(index: ChunkIndex) -> Block:
    return Block(
        index.chunk_start_offset,
        index.chunk_start_offset + index.chunk_length,
        index.message_start_time,
        index.message_end_time,
        channel_ids=frozenset(index.message_index_offsets),
    )


def _lists_all_topics(layout: McapLayout, summary: Summary) -> bool:
    """Return True if no chunk can announce another topic."""
    chunks = [block for block in layout.blocks if block.is_chunk]
    if {channel.schema_id for channel in layout.channels.values()} - {0} - layout.schemas.keys():
        return False
    if any(chunk.channel_ids - layout.channels.keys() for chunk in chunks):
        return False
    counted = summary.statistics and summary.statistics.channel_count <= len(layout.channels)
    return bool(counted) or all(chunk.channel_ids for chunk in chunks)


def _learn_from_chunks(file: BinaryIO, layout: McapLayout, *, summary: Summary) -> None:
    for chunk in layout.blocks:
        known = len(layout.channels), len(layout.schemas)
        if chunk.is_chunk:
            with suppress(Exception):  # as above
                data = read_block(file, chunk)
                for opcode, begin, end in records(data):
                    if opcode != Opcode.MESSAGE:
                        layout.learn(opcode, data[begin:end])
        is_news = known != (len(layout.channels), len(layout.schemas))
        if is_news and _lists_all_topics(layout, summary):
            return
