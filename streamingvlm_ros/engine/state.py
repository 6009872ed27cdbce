"""A stream's state beside its cache."""

from __future__ import annotations

from dataclasses import dataclass

from ..types import FrameSpan
from .ledger import Kind, Ledger, Segment

_REMEMBERED = (Kind.QUESTION, Kind.ANSWER)


@dataclass(frozen=True)
class State:
    """Immutable, so that a question can hold on to it at no cost.

    `pending` ends the last round and goes through the model with the next one. `watching` is true
    while a round's frames come in; `steps` are its temporal steps so far. `span_s` is the newest
    round in seconds of stream; `spans_ns` are the oldest and newest stamps of each visible round;
    `frame_id` is of the newest frame. `remembered` are questions and answers that the next round
    will hold; `answers` are those of the round whose frames come in, for its assistant turn.
    """

    ledger: Ledger = Ledger()
    pending: tuple[Segment, ...] = ()
    round: int = 0
    watching: bool = False
    steps: int = 0
    origin_ns: int = 0
    span_s: tuple[float, float] = (0.0, 0.0)
    spans_ns: tuple[tuple[int, int], ...] = ()
    frame_id: str = ""
    remembered: tuple[tuple[str, str], ...] = ()
    answers: tuple[str, ...] = ()

    @property
    def remembered_tokens(self) -> int:
        """Tokens of questions and answers that are in the cache as such."""
        return sum(len(segment) for segment in self.ledger if segment.kind in _REMEMBERED)

    @property
    def seen(self) -> FrameSpan:
        """The oldest and the newest visible frame."""
        stamps = [stamp for span in self.spans_ns for stamp in span]
        return FrameSpan(min(stamps), max(stamps), self.frame_id) if stamps else FrameSpan()
