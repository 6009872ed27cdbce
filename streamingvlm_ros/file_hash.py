"""The SHA-256 of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def sha256_of(files: Iterable[Path]) -> str:
    """Return the hexadecimal SHA-256 of the files' contents, one after another.

    Files are read in blocks, because weights may be larger than memory. Raises OSError if a file
    can't be read.
    """
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()
