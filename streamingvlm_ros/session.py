"""One loop for the live node, files, replay and the demo: a source of events, a stream, sinks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .types import Ask, Chunk, Narration

if TYPE_CHECKING:
    from .engine.stream import Stream

Sink = Callable[[Narration], None]


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
    its end. Questions that come together are answered side by side, as many as there is room for;
    what is left of those that came in between waits until the narration is over. One that can't
    be answered is told so and the session goes on; any other error belongs to the caller.
    """
    asks: deque[Ask] = deque()

    def pause() -> None:
        if new := interjected():
            asks.extend(new)
            stream.answer(asks)

    for event in source:
        if isinstance(event, Chunk):
            narration = stream.step(event, pause)
            for sink in sinks:
                sink(narration)
            _answer(stream, asks)
        else:
            _serve(stream, event)


def _serve(stream: Stream, requests: Sequence[Request]) -> None:
    asks: deque[Ask] = deque()
    for request in requests:
        if isinstance(request, Ask):
            asks.append(request)
            continue
        _answer(stream, asks)
        stream.reset()
        request.reply()
    _answer(stream, asks)


def _answer(stream: Stream, asks: deque[Ask]) -> None:
    while asks:
        stream.answer(asks)
