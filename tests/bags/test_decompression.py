"""Decompression of real data, and of small data that would fill memory or disk."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from mcap.writer import CompressionType, Writer

from streamingvlm_ros.bags import decompression
from streamingvlm_ros.bags.decompression import TooLargeError, decompress, decompress_file
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.errors import BagError
from streamingvlm_ros.types import NS_PER_S as S

from .mcap_files import add_topic, stamps_and_losses, texts_at, write_mcap
from .sample_bags import STRING

DATA = b"some data " * 1000
Usage = namedtuple("Usage", "total used free")


def packed_zeros(size: int, begin: bytes = b"", *, declares_size: bool) -> bytes:
    """Compress `begin` and zeros to a few kilobytes."""
    block = bytes(2**20)
    declared = size + len(begin) if declares_size else -1
    compressor = zstandard.ZstdCompressor(1).compressobj(size=declared)
    pieces = [compressor.compress(begin)]
    pieces += [compressor.compress(block) for _ in range(size // len(block))]
    return b"".join([*pieces, compressor.flush()])


def in_frames(data: bytes) -> bytes:
    half = len(data) // 2
    compress = zstandard.ZstdCompressor().compress
    return compress(data[:half]) + compress(data[half:])


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower all limits, so that tests needn't write gigabytes."""
    for name in ("_MAX_MEMORY_BYTES", "_MAX_FILE_BYTES"):
        monkeypatch.setattr(decompression, name, 2**23)
    monkeypatch.setattr(decompression, "_MAX_RATIO", 100)


@pytest.mark.parametrize(
    ("packed", "compression"),
    [
        (DATA, ""),
        (lz4.frame.compress(DATA), "lz4"),
        (lz4.frame.compress(DATA, store_size=False), "lz4"),
        (zstandard.ZstdCompressor().compress(DATA), "zstd"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(DATA), "zstd"),
    ],
)
def test_data_is_decompressed_with_and_without_a_declared_size(
    packed: bytes, compression: str
) -> None:
    assert decompress(packed, compression) == DATA


@pytest.mark.parametrize("packed", [zstandard.ZstdCompressor().compress(DATA), in_frames(DATA)])
def test_a_file_is_decompressed(tmp_path: Path, packed: bytes) -> None:
    (tmp_path / "a.mcap.zstd").write_bytes(packed)
    assert decompress_file(tmp_path / "a.mcap.zstd", tmp_path).read_bytes() == DATA


def test_a_damaged_file_is_decompressed_as_far_as_it_goes(tmp_path: Path) -> None:
    packed = zstandard.ZstdCompressor().compress(bytes(range(256)) * 4000)
    (tmp_path / "a.db3.zstd").write_bytes(packed[: len(packed) // 2])
    assert decompress_file(tmp_path / "a.db3.zstd", tmp_path).name == "a.db3"


@pytest.mark.parametrize("declares_size", [True, False])
@pytest.mark.parametrize("kind", ["mcap", "db3"])
def test_a_small_file_that_becomes_large_is_an_error_and_leaves_nothing(
    tmp_path: Path,
    small_limits: None,
    monkeypatch: pytest.MonkeyPatch,
    declares_size: bool,
    kind: str,
) -> None:
    begin = write_mcap(tmp_path / "a.mcap", texts_at([S])).read_bytes()
    (tmp_path / "a.mcap").unlink()
    file = tmp_path / f"bomb.{kind}.zstd"
    file.write_bytes(packed_zeros(2**25, begin, declares_size=declares_size))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(BagError, match=rf"decompress to more than .* `zstd -d 'bomb.{kind}.zstd'`"):
        BagReader(file)
    assert not list(temporary.iterdir())


def test_a_file_that_would_fill_the_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = decompression._MIN_FREE_BYTES + 1000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free, 0, free))
    (tmp_path / "a.mcap.zstd").write_bytes(zstandard.ZstdCompressor().compress(DATA))
    with pytest.raises(TooLargeError, match=r"more than 1,000 bytes \(free space in"):
        decompress_file(tmp_path / "a.mcap.zstd", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mcap.zstd"]


@pytest.mark.parametrize("declares_size", [True, False])
def test_a_message_that_becomes_too_large_is_left_out_and_counted(
    tmp_path: Path, small_limits: None, declares_size: bool
) -> None:
    def fill(writer: Writer) -> None:
        channel = add_topic(writer, "/bomb", kind=STRING)
        bomb = packed_zeros(2**25, declares_size=declares_size)
        writer.add_message(channel, S, bomb, S)

    file = write_mcap(tmp_path / "a.mcap", fill, texts_at([2 * S]))
    stamps_ns, losses = stamps_and_losses(file)
    assert (stamps_ns, losses) == ([2 * S], {"a.mcap": "1 message can't be decompressed"})


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4])
def test_a_chunk_that_becomes_too_large_is_left_out_and_reported(
    tmp_path: Path, small_limits: None, compression: CompressionType
) -> None:
    def fill(writer: Writer) -> None:
        channel = add_topic(writer, "/zeros", kind=STRING)
        writer.add_message(channel, S, bytes(2**25), S)

    file = write_mcap(
        tmp_path / "a.mcap", texts_at([]), fill, texts_at([2 * S]), compression=compression
    )
    stamps_ns, losses = stamps_and_losses(file)
    if compression is CompressionType.LZ4:  # LZ4's ratio is 255 at most
        assert stamps_ns in ([S, 2 * S], [2 * S])
    else:
        assert stamps_ns == [2 * S]
        assert "1 of /zeros" in losses["a.mcap"]
