"""Seconds as people read them."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """`75.5` as `1:15`, with hours from one hour on; a time before the beginning has a minus."""
    whole = int(seconds)
    sign = "-" if whole < 0 else ""
    minutes, second = divmod(abs(whole), 60)
    hours, minute = divmod(minutes, 60)
    return sign + (f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}")


def within(seconds: float, length_s: float | None) -> float:
    """How far a bar of this length goes: a camera's clock may be set to any time."""
    return min(max(0.0, seconds), float("inf") if length_s is None else length_s)
