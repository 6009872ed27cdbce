"""Files that are there whole or not at all."""

from __future__ import annotations

import uuid
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file anew, in UTF-8: whoever reads it meanwhile, or after a crash, has all of one.

    Several processes on several hosts may do so; the last one's stays. OSError leaves the old one.
    """
    draft = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        # What a model said may hold half a character, which no encoding has.
        draft.write_text(text, encoding="utf-8", errors="replace")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
