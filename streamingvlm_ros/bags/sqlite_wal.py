"""Pages in the write-ahead log of a SQLite file that are not in the file yet."""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER = struct.Struct(">8xI4x8s8x")
"""Page size and salt, after magic and version."""
_FRAME = struct.Struct(">II8s8x")
"""Page number, size of the database after a commit (else 0), and salt, before a page."""


def has_unmerged_pages(path: Path) -> bool:
    """Return True if the log of the database `path` holds a committed page that differs.

    The log stays behind when a program reads the file, and when a recorder is killed. Only in
    the second case are its pages not in the file yet.
    """
    wal = path.with_name(f"{path.name}-wal")
    try:
        pages, page_size = _committed_pages(wal)
        with wal.open("rb") as log, path.open("rb") as database:
            for number, offset in pages.items():
                log.seek(offset)
                database.seek((number - 1) * page_size)
                if log.read(page_size) != database.read(page_size):
                    return True
    except FileNotFoundError:
        pass
    return False


def _committed_pages(wal: Path) -> tuple[dict[int, int], int]:
    """Return the offset of each page's newest version, and the page size."""
    pages: dict[int, int] = {}
    uncommitted: dict[int, int] = {}
    with wal.open("rb") as log:
        header = log.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return {}, 0
        page_size, salt = _HEADER.unpack(header)
        while len(head := log.read(_FRAME.size)) == _FRAME.size:
            number, committed, frame_salt = _FRAME.unpack(head)
            if frame_salt != salt:  # left from before the log began anew
                break
            uncommitted[number] = log.tell()
            log.seek(page_size, 1)
            if committed:
                pages |= uncommitted
                uncommitted = {}
    return pages, page_size
