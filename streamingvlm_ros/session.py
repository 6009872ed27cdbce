"""One loop for the live node, files, replay and the demo: a source of events, a stream, sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from .errors import StreamingVLMError
from .types import Answer, Chunk, Narration, Question

if TYPE_CHECKING:
    from .engine.stream import Stream

Sink = Callable[[Narration], None]


def _listen(piece: str) -> bool:
    return True


@dataclass(frozen=True)
class Ask:
    """A question between two rounds.

    `heard` is given the answer piece by piece, and says whether to go on; `reply` is called once,
    at the end. Both are called from the session's thread.
    """

    question: Question
    reply: Callable[[Answer | StreamingVLMError], None]
    heard: Callable[[str], bool] = _listen


@dataclass(frozen=True)
class Reset:
    """Forget everything seen and said; `reply` is called when that is done."""

    reply: Callable[[], None] = lambda: None


Request = Ask | Reset
Event = Chunk | Sequence[Request]


def run(source: Iterable[Event], stream: Stream, sinks: Sequence[Sink]) -> None:
    """Serve events in order until the source ends. Narrations go to every sink.

    Questions that follow each other in one event are answered side by side. One that can't be
    answered is told so and the session goes on; any other error belongs to the caller.
    """
    for event in source:
        if isinstance(event, Chunk):
            narration = stream.step(event)
            for sink in sinks:
                sink(narration)
        else:
            _serve(stream, event)


def _serve(stream: Stream, requests: Sequence[Request]) -> None:
    for kind, group in groupby(requests, type):
        if kind is Reset:
            for reset in group:
                stream.reset()
                reset.reply()
        else:
            _answer(stream, list(group))


def _answer(stream: Stream, asks: Sequence[Ask]) -> None:
    def heard(index: int, piece: str) -> bool:
        return asks[index].heard(piece)

    def reply(index: int, outcome: Answer | StreamingVLMError) -> None:
        asks[index].reply(outcome)

    stream.answer([ask.question for ask in asks], heard, reply)
