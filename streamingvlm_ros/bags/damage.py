"""What is lost of a file whose chunks are damaged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..types import NS_PER_S


@dataclass
class Damage:
    """The chunks of a file that can't be read; all others are."""

    begin_ns: int | None = None
    """When the file begins; None if that is not known."""
    spans_ns: set[tuple[int, int]] = field(default_factory=set)
    """When the first and the last message of each were recorded."""
    lost: Counter[str] = field(default_factory=Counter)
    """How many messages of each topic are lost with them, as far as is known."""

    def __str__(self) -> str:
        """A sentence; empty if there is none."""
        if not self.spans_ns:
            return ""
        first_ns = min(first_ns for first_ns, _ in self.spans_ns)
        last_ns = max(last_ns for _, last_ns in self.spans_ns)
        begin_ns = first_ns if self.begin_ns is None else self.begin_ns
        first_s, last_s = ((its - begin_ns) / NS_PER_S for its in (first_ns, last_ns))
        counts = ", ".join(f"{count} of {name}" for name, count in sorted(self.lost.items()))
        return (
            f"{len(self.spans_ns)} damaged chunk(s) left out, between {first_s:.1f} s and "
            f"{last_s:.1f} s after its beginning"
        ) + (f"; messages lost with them: {counts}" if counts else "")
