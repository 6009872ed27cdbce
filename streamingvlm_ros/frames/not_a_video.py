"""What a file is that can't be opened as a video, by its first bytes, and what to do."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_HEAD_BYTES = 512

_SIGNATURES = (
    (b"#ROSBAG V", "it is a ROS 1 bag: convert it with `rosbags-convert --src FILE --dst FOLDER`"),
    (b"\x89MCAP0\r\n", "it is an MCAP bag: give it a name that ends in .mcap"),
    (b"SQLite format 3\0", "it is a SQLite database: if it is a bag, its name must end in .db3"),
    (b"\x1aE\xdf\xa3", "it is a damaged or unfinished Matroska or WebM file"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd: unpack it"),
    (b"\x1f\x8b", "it is compressed with gzip: unpack it"),
    (b"BZh", "it is compressed with bzip2: unpack it"),
    (b"\xfd7zXZ\0", "it is compressed with xz: unpack it"),
    (b"PK\x03\x04", "it is a zip archive: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive: unpack it"),
    (b"Rar!", "it is a RAR archive: unpack it"),
    (b"\xff\xd8\xff", "it is a JPEG picture, not a video"),
    (b"\x89PNG", "it is a PNG picture, not a video"),
    (b"BM", "it is a BMP picture, not a video"),
    (b"II*\0", "it is a TIFF picture, not a video"),
    (b"MM\0*", "it is a TIFF picture, not a video"),
    (b"%PDF", "it is a PDF document"),
    (b"\x7fELF", "it is a program"),
    (b"version https://git-lfs", "it is a Git LFS pointer: run `git lfs pull`"),
)

_PLAYLIST = "it is a list that names other files: name one of those"
_TEXT_SIGNATURES = (
    (b"#extm3u", _PLAYLIST),
    (b"ffconcat", _PLAYLIST),
    (b"[playlist]", _PLAYLIST),
    (b"<mpd", _PLAYLIST),
    (b"v=0", _PLAYLIST),
    (b"<!doctype html", "it is a web page: the download failed"),
    (b"<html", "it is a web page: the download failed"),
    (b"webvtt", "it is a subtitle file: name the video that it belongs to"),
)

_UNFINISHED = (
    "it has no index (moov box): its recorder was killed before it finished the file, or the file "
    "is cut off; copy it again, repair it with a tool such as untrunc, or record to MKV"
)


def describe(path: Path) -> str:
    """Return what the file is and what to do; '' if that isn't known."""
    if path.is_dir():
        return "it is a folder"
    try:
        head = _head(path)
        if head == b"":
            return "it is empty (0 bytes)"
        return _by_signature(head) or _by_boxes(path)
    except OSError as error:
        return str(error.strerror)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _by_signature(head: bytes) -> str:
    if not any(head):
        return "it begins with zeros: it was never written, or its disk failed"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "it is a WebP picture, not a video"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<?xml"):
        text = text[text.find(b"?>") + 2 :].lstrip()
    exact = (what for signature, what in _SIGNATURES if head.startswith(signature))
    of_text = (what for signature, what in _TEXT_SIGNATURES if text.startswith(signature))
    return next(exact, "") or next(of_text, "") or ("it is a text file" if _is_text(head) else "")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8") if error.start > len(head) - 4 else "\0"
    return all(char.isprintable() or char in "\r\n\t\ufeff" for char in text)


def _by_boxes(path: Path) -> str:
    """Describe an MP4 or QuickTime file that has no complete index."""
    boxes = list(_boxes(path))
    if not boxes or boxes[0][0] not in (b"ftyp", b"mdat", b"wide", b"free", b"skip", b"moov"):
        return ""
    size = path.stat().st_size
    whole = any(kind == b"moov" and end <= size for kind, end in boxes)
    return "" if whole else _UNFINISHED


def _boxes(path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield kind and end of the outermost boxes, as far as they follow each other."""
    with path.open("rb") as file:
        begin = 0
        while len(header := file.read(16)) >= 8:
            size, kind = struct.unpack(">I4s", header[:8])
            if size == 1 and len(header) == 16:
                (size,) = struct.unpack(">Q", header[8:])
            if not size:  # the box reaches to the end of the file
                size = path.stat().st_size - begin
            if size < 8:
                return
            begin += size
            yield kind, begin
            file.seek(begin)
