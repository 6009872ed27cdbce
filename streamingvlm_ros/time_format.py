"""Times as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .types import NS_PER_S

_CLOCK_FROM_S = 1_000_000_000
"""Stamps from September 2001 on are dates; smaller ones are seconds since a start."""


def format_stamp(stamp_ns: int) -> str:
    """Format as `2026-11-21 14:02:31` in local time, or `1830.0 s` if the clock started at 0."""
    seconds = stamp_ns / NS_PER_S
    if seconds < _CLOCK_FROM_S:
        return f"{seconds:.1f} s"
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def cite_times(stamps_ns: Sequence[int]) -> str:
    """Return the citation for an answer: ` (seen at 1830.0 s, 1832.0 s)`, each time once."""
    return f" (seen at {', '.join(dict.fromkeys(map(format_stamp, stamps_ns)))})"


def format_clock(seconds: float) -> str:
    """Format 75.5 as `1:15`, with hours from one hour on; negative times have a minus."""
    whole = int(seconds)
    sign = "-" if whole < 0 else ""
    minutes, second = divmod(abs(whole), 60)
    hours, minute = divmod(minutes, 60)
    return sign + (f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}")


def clamp(seconds: float, length_s: float | None) -> float:
    """Limit a time to a progress bar's range: a camera's clock may be set to any time."""
    return min(max(0.0, seconds), float("inf") if length_s is None else length_s)
