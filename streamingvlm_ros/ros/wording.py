"""Times in words, as an answer names them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..types import NS_PER_S

_CLOCK_FROM_S = 1_000_000_000
"""From September 2001 on, a stamp is a time of day; before, seconds since something began."""


def when(stamp_ns: int) -> str:
    """`2026-11-21 14:02:31` in local time; `1830.0 s` for a camera whose time began at 0."""
    seconds = stamp_ns / NS_PER_S
    if seconds < _CLOCK_FROM_S:
        return f"{seconds:.1f} s"
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def seen_at(stamps_ns: Sequence[int]) -> str:
    """What follows an answer: ` (seen at 1830.0 s, 1832.0 s)`. The same time is named once."""
    return f" (seen at {', '.join(dict.fromkeys(map(when, stamps_ns)))})"
