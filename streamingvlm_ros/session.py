"""One loop for the live node, files, replay and the demo: a source of events, a stream, sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import StreamingVLMError
from .types import Answer, Chunk, Narration, Question

if TYPE_CHECKING:
    from .engine.stream import Stream

Sink = Callable[[Narration], None]


def _listen(piece: str) -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Ask:
    """A question to what the stream has in mind, or to frames that it brings along.

    `heard` is called before the first token and then with each, which may add no piece to the
    answer; it says whether to go on. `reply` is called once, at the end. Both are called from the
    session's thread.
    """

    question: Question
    reply: Callable[[Answer | StreamingVLMError], None]
    heard: Callable[[str], bool] = _listen


@dataclass(frozen=True, eq=False)
class Reset:
    """Forget everything seen and said; `reply` is called when that is done."""

    reply: Callable[[], None] = lambda: None


Request = Ask | Reset
Event = Chunk | Sequence[Request]


def run(
    source: Iterable[Event],
    stream: Stream,
    sinks: Sequence[Sink],
    interjected: Callable[[], Sequence[Ask]] = lambda: (),
) -> None:
    """Serve events in order until the source ends. Narrations go to every sink.

    `interjected` is asked between the tokens of a narration for questions that shall not wait for
    its end. Questions that come together are answered side by side. One that can't be answered is
    told so and the session goes on; any other error belongs to the caller.
    """
    for event in source:
        if isinstance(event, Chunk):
            narration = stream.step(event, lambda: _answer(stream, interjected()))
            for sink in sinks:
                sink(narration)
        else:
            _serve(stream, event)


def _serve(stream: Stream, requests: Sequence[Request]) -> None:
    asks: list[Ask] = []
    for request in requests:
        if isinstance(request, Ask):
            asks.append(request)
            continue
        _answer(stream, asks)
        asks = []
        stream.reset()
        request.reply()
    _answer(stream, asks)


def _answer(stream: Stream, asks: Sequence[Ask]) -> None:
    if not asks:
        return

    def heard(index: int, piece: str) -> bool:
        return asks[index].heard(piece)

    def reply(index: int, outcome: Answer | StreamingVLMError) -> None:
        asks[index].reply(outcome)

    stream.answer([ask.question for ask in asks], heard, reply)
