"""Atomic writes: a file is complete or absent."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of a full disk, an exhausted quota or a file at its maximum size."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; it then replaces `path`, or is removed on error."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a file with UTF-8 text. Readers see the old or the new file, even after a crash.

    Several processes on several hosts may write; the last one wins. OSError leaves the old file.
    """
    with atomic_path(path) as temporary:
        # Generated text may contain a lone surrogate, which UTF-8 can't encode.
        temporary.write_text(text, encoding="utf-8", errors="replace")
