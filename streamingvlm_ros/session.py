"""One loop for the live node, files, replay and the demo: a source of events, a stream, sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import StreamingVLMError
from .types import Answer, Chunk, Narration

if TYPE_CHECKING:
    from .engine.stream import Stream

Sink = Callable[[Narration], None]


@dataclass(frozen=True)
class Question:
    """Asked of the stream between two rounds. `reply` is called once, from the session's thread."""

    text: str
    reply: Callable[[Answer | StreamingVLMError], None]
    max_tokens: int | None = None


@dataclass(frozen=True)
class Reset:
    """Forget everything seen and said; `reply` is called when that is done."""

    reply: Callable[[], None] = lambda: None


Event = Chunk | Question | Reset


def run(source: Iterable[Event], stream: Stream, sinks: Sequence[Sink]) -> None:
    """Serve events in order until the source ends. Narrations go to every sink.

    A question that can't be answered is told so and the session goes on; any other error
    belongs to the caller.
    """
    for event in source:
        match event:
            case Chunk():
                narration = stream.step(event)
                for sink in sinks:
                    sink(narration)
            case Question():
                event.reply(_answer(stream, event))
            case Reset():
                stream.reset()
                event.reply()


def _answer(stream: Stream, question: Question) -> Answer | StreamingVLMError:
    try:
        return stream.ask(question.text, question.max_tokens)
    except StreamingVLMError as error:
        return error
