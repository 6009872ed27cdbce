"""What a stream knows beside its cache."""

from __future__ import annotations

from dataclasses import dataclass

from .ledger import Kind, Ledger, Segment

_REMEMBERED = (Kind.QUESTION, Kind.ANSWER)


@dataclass(frozen=True)
class State:
    """Immutable, so a branch of it is free.

    `pending` ends the last round and goes through the model with the next one. `span_s` is the
    newest round in seconds of stream; `spans_ns` are the oldest and newest stamps of each visible
    round. `asked` are questions and answers that the next round will hold.
    """

    ledger: Ledger = Ledger()
    pending: Segment | None = None
    round: int = 0
    origin_ns: int = 0
    span_s: tuple[float, float] = (0.0, 0.0)
    spans_ns: tuple[tuple[int, int], ...] = ()
    asked: tuple[tuple[str, str], ...] = ()

    @property
    def sequence(self) -> Ledger:
        """What is in the cache, and what is pending."""
        return self.ledger.append([self.pending] if self.pending else [])

    @property
    def remembered_tokens(self) -> int:
        """Tokens of questions and answers that are in the cache as such."""
        return sum(len(segment) for segment in self.ledger if segment.kind in _REMEMBERED)

    @property
    def seen_ns(self) -> tuple[int, int]:
        """Stamps of the oldest and the newest visible frame."""
        stamps = [stamp for span in self.spans_ns for stamp in span]
        return min(stamps), max(stamps)
