"""Counts with their nouns."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Return `1 frame`, `2 frames`, `1,200 frames`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
