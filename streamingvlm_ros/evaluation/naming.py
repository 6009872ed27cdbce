"""Texts as parts of file names."""

from __future__ import annotations

import hashlib
import re

_READABLE = 60
"""Signs of a text in a file's name, which may be 255 long."""


def file_part(text: str) -> str:
    """The text if it can be a part of a file's name, or what is readable of it: no other text's."""
    readable = re.sub(r"[^\w.=-]+", "_", text, flags=re.ASCII).strip("_")[:_READABLE]
    if readable == text:
        return text
    # A file may be called what is no text.
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{readable}-{digest[:8]}"
