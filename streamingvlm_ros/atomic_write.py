"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""How the system says that a file can't grow."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A file of one's own beside `path`: it replaces that when it has been written, or goes."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file anew, in UTF-8: whoever reads it meanwhile, or after a crash, has all of one.

    Several processes on several hosts may do so; the last one's stays. OSError leaves the old one.
    """
    with atomic_path(path) as temporary:
        # What a model said may hold half a character, which no encoding has.
        temporary.write_text(text, encoding="utf-8", errors="replace")
