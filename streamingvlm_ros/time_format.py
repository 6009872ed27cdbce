"""Times as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .types import NS_PER_S

_CLOCK_FROM_S = 1_000_000_000
"""From September 2001 on, a stamp is a time of day; before, seconds since something began."""


def format_stamp(stamp_ns: int) -> str:
    """`2026-11-21 14:02:31` in local time; `1830.0 s` for a camera whose time began at 0."""
    seconds = stamp_ns / NS_PER_S
    if seconds < _CLOCK_FROM_S:
        return f"{seconds:.1f} s"
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def cite_times(stamps_ns: Sequence[int]) -> str:
    """What follows an answer: ` (seen at 1830.0 s, 1832.0 s)`. The same time is named once."""
    return f" (seen at {', '.join(dict.fromkeys(map(format_stamp, stamps_ns)))})"


def format_clock(seconds: float) -> str:
    """`75.5` as `1:15`, with hours from one hour on; a time before the beginning has a minus."""
    whole = int(seconds)
    sign = "-" if whole < 0 else ""
    minutes, second = divmod(abs(whole), 60)
    hours, minute = divmod(minutes, 60)
    return sign + (f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}")


def clamp(seconds: float, length_s: float | None) -> float:
    """How far a bar of this length goes: a camera's clock may be set to any time."""
    return min(max(0.0, seconds), float("inf") if length_s is None else length_s)
