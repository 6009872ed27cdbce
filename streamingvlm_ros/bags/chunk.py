"""One chunk of an MCAP file: messages that are compressed together."""

from __future__ import annotations

import struct
import zlib
from itertools import groupby

import lz4.frame
import zstandard
from mcap.opcode import Opcode

_ZSTD_LEVEL = 1
"""Four times as fast as level 3 on a camera's images, for a file that is a tenth larger."""

_MESSAGE = struct.Struct("<BQHIQQ")
_CHUNK = struct.Struct("<BQQQQII")
"""Beginnings of records: what follows is written without being copied."""


class Chunk:
    """Records, not compressed yet. `size_bytes` is what they take."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._pieces: list[bytes] = []
        self._entries: list[tuple[int, int, int]] = []
        """Channel, stamp and place of each message."""

    def add(self, record: bytes) -> None:
        """Add a record, or the next piece of one."""
        self._pieces.append(record)
        self.size_bytes += len(record)

    def message(self, channel: int, stamp_ns: int, data: bytes) -> None:
        """Add a message."""
        self._entries.append((channel, stamp_ns, self.size_bytes))
        length = _MESSAGE.size - 9 + len(data)
        self.add(_MESSAGE.pack(Opcode.MESSAGE, length, channel, 0, stamp_ns, stamp_ns))
        self.add(data)

    @property
    def span_ns(self) -> tuple[int, int]:
        """The first stamp and the last."""
        stamps = [stamp_ns for _, stamp_ns, _ in self._entries]
        return min(stamps), max(stamps)

    def entries(self) -> dict[int, list[tuple[int, int]]]:
        """Stamps and places of each channel's messages; empty without any."""
        channels = groupby(sorted(self._entries), lambda entry: entry[0])
        return {channel: [entry[1:] for entry in entries] for channel, entries in channels}

    def packed(self, compression: str) -> list[bytes]:
        """What the records are in the file, by 'zstd', 'lz4' or ''."""
        if compression == "zstd":
            return [zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(b"".join(self._pieces))]
        if compression == "lz4":
            return [lz4.frame.compress(b"".join(self._pieces))]
        return self._pieces

    def head(self, compression: str, packed_size: int) -> bytes:
        """What stands in the file before them."""
        name, crc = compression.encode(), 0
        for piece in self._pieces:
            crc = zlib.crc32(piece, crc)
        length = _CHUNK.size - 9 + len(name) + 8 + packed_size
        sizes = self.size_bytes, crc, len(name)
        fixed = _CHUNK.pack(Opcode.CHUNK, length, *self.span_ns, *sizes)
        return fixed + name + struct.pack("<Q", packed_size)
