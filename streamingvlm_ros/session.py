"""One loop for the live node, files, replay and the demo: a source, streams, sinks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .types import Ask, Chunk, ChunkPart, Narration

if TYPE_CHECKING:
    from .engine.stream import Engine, Stream


@dataclass(frozen=True, eq=False)
class Reset:
    """Forget everything seen and said; `on_done` is called when that is done."""

    on_done: Callable[[], None] = lambda: None


Request = Ask | Reset
Event = Chunk | Sequence[Request]

_ONLY = ""
"""The camera's name where there is only one."""

Sink = Callable[[Chunk, Narration], None]
CameraSink = Callable[[str, Chunk, Narration], None]


@dataclass(frozen=True, slots=True)
class PartEvent:
    """A camera's next frames."""

    camera: str
    part: ChunkPart


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """Something that is asked of a camera's stream."""

    camera: str
    request: Request


class Source(Protocol):
    """Frames and requests for the thread that owns the engine."""

    def take(
        self, *, wait: bool, ready: Collection[str]
    ) -> Sequence[PartEvent | RequestEvent] | None:
        """Return what to do next, in order: requests first, then a part of each ready camera.

        With `wait`, wait until there is something; without, return at once, perhaps with nothing.
        None when the source has ended.
        """


def serve(
    source: Source,
    engine: Engine,
    *,
    streams: Mapping[str, Stream],
    sinks: Sequence[CameraSink],
) -> None:
    """Serve a source until it ends: one token a pass for all narrations and answers.

    What is under way when the source ends is brought to its end. Whoever asked a question that
    can't be answered is told why, and the session goes on.

    Args:
        source: frames and requests by camera.
        engine: the engine of all `streams`.
        streams: a stream for each camera that the source names.
        sinks: called with camera, chunk and narration, in order.

    Raises:
        StreamingVLMError: what `engine.see` raises for the source's frames.
    """
    names = {stream: name for name, stream in streams.items()}

    def deliver() -> None:
        for round in engine.take_rounds():
            for sink in sinks:
                sink(names[round.stream], round.chunk, round.narration)

    ended = False
    while engine.busy or not ended:
        ready = [name for name, stream in streams.items() if stream.ready]
        events = None if ended else source.take(wait=not engine.busy, ready=ready)
        ended = events is None
        _handle(events or (), engine, streams=streams, deliver=deliver)
        engine.advance()
        deliver()


def run(events: Iterable[Event], stream: Stream, *, sinks: Sequence[Sink]) -> None:
    """Serve events until they end, each of them to its end before the next is fetched.

    Questions that come together are answered side by side.
    """

    def sink(camera: str, chunk: Chunk, narration: Narration) -> None:
        for each in sinks:
            each(chunk, narration)

    serve(_InOrder(iter(events)), stream.engine, streams={_ONLY: stream}, sinks=[sink])


class _InOrder:
    """Events as a source: the next is taken when nothing is under way."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events

    def take(
        self, *, wait: bool, ready: Collection[str]
    ) -> Sequence[PartEvent | RequestEvent] | None:
        if not wait:
            return []
        event = next(self._events, None)
        if event is None:
            return None
        if isinstance(event, Chunk):
            return [PartEvent(_ONLY, ChunkPart.whole(event))]
        return [RequestEvent(_ONLY, request) for request in event]


def _handle(
    events: Sequence[PartEvent | RequestEvent],
    engine: Engine,
    *,
    streams: Mapping[str, Stream],
    deliver: Callable[[], None],
) -> None:
    parts: list[tuple[Stream, ChunkPart]] = []
    for event in events:
        stream = streams[event.camera]
        if isinstance(event, PartEvent):
            parts.append((stream, event.part))
        elif isinstance(event.request, Ask):
            engine.ask(stream, event.request)
        else:
            # What was asked before is asked of what was seen before, and narrated before.
            engine.finish(stream)
            deliver()
            engine.reset(stream)
            event.request.on_done()
    if parts:
        engine.see(parts)
