"""Damage of an MCAP file: chunks that are left out, and the messages lost with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..types import NS_PER_S

_UNKNOWN_TOPICS = "topics that were announced in them"


@dataclass
class Damage:
    """Unreadable chunks of a file. All other chunks are read.

    A chunk is known by its offset: it is reported once, however often the file is read.
    """

    begin_ns: int
    """First stamp of the file."""
    _spans_ns: dict[int, tuple[int, int]] = field(default_factory=dict)
    _lost_messages: dict[int, Counter[str]] = field(default_factory=dict)

    def add_chunk(self, offset: int, span_ns: tuple[int, int], *, lost: Counter[str]) -> None:
        """Add an unreadable chunk, and its number of messages by topic, as far as is known."""
        self._spans_ns[offset] = span_ns
        self._lost_messages[offset] = lost

    def add_messages_of_unknown_topics(self, offset: int, count: int) -> None:
        """Add messages whose topics were announced in an unreadable chunk."""
        self._lost_messages[offset] = Counter({_UNKNOWN_TOPICS: count})

    def __str__(self) -> str:
        """Describe the damage in a sentence; empty if there is none."""
        lost = sum(self._lost_messages.values(), Counter[str]())
        counts = ", ".join(f"{count} of {name}" for name, count in sorted(lost.items()))
        if not self._spans_ns:
            return f"messages lost: {counts}" if counts else ""
        first_ns = min(first_ns for first_ns, _ in self._spans_ns.values())
        last_ns = max(last_ns for _, last_ns in self._spans_ns.values())
        first_s, last_s = ((ns - self.begin_ns) / NS_PER_S for ns in (first_ns, last_ns))
        return (
            f"{len(self._spans_ns)} damaged chunk(s) left out, between {first_s:.1f} s and "
            f"{last_s:.1f} s after its beginning"
        ) + (f"; messages lost with them: {counts}" if counts else "")
