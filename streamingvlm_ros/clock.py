"""Seconds as people read them."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """`75.5` as `1:15`, with hours from one hour on."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
