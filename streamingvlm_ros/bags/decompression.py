"""Decompression within bounds: a small file can't fill the memory or the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import lz4.frame
import zstandard

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
"""First bytes of what zstd compressed."""

_MAX_RATIO = 1000
"""Beyond this ratio, data is refused if it also exceeds one of the next two limits."""
_MAX_MEMORY_BYTES = 256 * 2**20
_MAX_FILE_BYTES = 2**30
_MIN_FREE_BYTES = 2**29
"""Disk space that a decompressed file must leave free."""
_BLOCK_BYTES = 2**20


class TooLargeError(ValueError):
    """The decompressed data would be implausibly large, or larger than the free disk space."""


def decompress(data: bytes | memoryview, compression: str) -> bytes | memoryview:
    """Decompress a chunk or a message; `compression` is 'zstd', 'lz4' or ''.

    Raises:
        TooLargeError: The result would be implausibly large.
        Exception: The data is damaged.
    """
    if not compression:
        return data
    limit = max(_MAX_MEMORY_BYTES, _MAX_RATIO * len(data))
    if compression == "lz4":
        _check_size(lz4.frame.get_frame_info(data)["content_size"], limit)
        plain: bytes = lz4.frame.decompress(data)  # LZ4's ratio is 255 at most.
        return plain
    if compression != "zstd":
        raise ValueError(f"unknown compression {compression!r}")
    size = zstandard.frame_content_size(data)
    _check_size(size, limit)
    if size >= 0:
        return zstandard.ZstdDecompressor().decompress(data)
    return b"".join(_blocks(BytesIO(data), limit))


def decompress_file(path: Path, folder: Path) -> Path:
    """Decompress NAME.zstd into `folder`, as far as the data goes; return the new path.

    Raises:
        TooLargeError: The result would be implausibly large, or fill the disk. Nothing is left.
        OSError: The file can't be read or written.
    """
    plain = folder / path.stem
    packed_bytes = path.stat().st_size
    free_bytes = max(0, shutil.disk_usage(folder).free - _MIN_FREE_BYTES)
    plausible_bytes = max(_MAX_FILE_BYTES, _MAX_RATIO * packed_bytes)
    limit = min(free_bytes, plausible_bytes)
    try:
        with path.open("rb") as packed, plain.open("wb") as unpacked:
            _check_size(_declared_size(packed), limit)
            with suppress(zstandard.ZstdError):  # A damaged file is read as far as it goes.
                unpacked.writelines(_blocks(packed, limit))
    except TooLargeError as error:
        plain.unlink()
        room = f" (free space in {folder.parent})" if free_bytes < plausible_bytes else ""
        raise TooLargeError(
            f"its {packed_bytes:,} bytes decompress to more than {error} bytes{room}; if it is "
            f"no mistake, decompress it beside the bag with `zstd -d '{path.name}'`"
        ) from None
    except BaseException:
        plain.unlink(missing_ok=True)
        raise
    return plain


def _declared_size(packed: BinaryIO) -> int:
    """Return the size in the file's header; -1 if it has none."""
    head = packed.read(zstandard.BLOCKSIZE_MAX)
    packed.seek(0)
    try:
        return zstandard.frame_content_size(head)
    except zstandard.ZstdError:
        return -1


def _blocks(packed: BinaryIO, limit: int) -> Iterator[bytes]:
    size = 0
    decompressor = zstandard.ZstdDecompressor()
    with decompressor.stream_reader(packed, read_across_frames=True, closefd=False) as stream:
        for block in iter(partial(stream.read, _BLOCK_BYTES), b""):
            size += len(block)
            _check_size(size, limit)
            yield block


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLargeError(f"{limit:,}")
