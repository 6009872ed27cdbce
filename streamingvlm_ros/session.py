"""The loop of the live node, files, replay and the demo: a source, streams and sinks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .types import Ask, Chunk, ChunkPart, Narration

if TYPE_CHECKING:
    from .engine.stream import Engine, Stream


@dataclass(frozen=True, eq=False)
class Reset:
    """A request to clear a stream's context; `on_done` is called afterwards."""

    on_done: Callable[[], None] = lambda: None


Request = Ask | Reset
Event = Chunk | Sequence[Request]

_ONLY = ""
"""Name of the camera in a session with only one."""

Sink = Callable[[Chunk, Narration], None]
CameraSink = Callable[[str, Chunk, Narration], None]


@dataclass(frozen=True, slots=True)
class PartEvent:
    """A camera's next frames."""

    camera: str
    part: ChunkPart


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """A request to a camera's stream."""

    camera: str
    request: Request


class Source(Protocol):
    """Frames and requests for the thread that owns the engine."""

    def take(
        self, *, wait: bool, ready: Collection[str]
    ) -> Sequence[PartEvent | RequestEvent] | None:
        """Return the next events in order: requests first, then a part of each ready camera.

        With `wait`, wait until there is an event; otherwise return at once, possibly an empty list.
        Return None when the source has ended.
        """


def serve(
    source: Source,
    engine: Engine,
    *,
    streams: Mapping[str, Stream],
    sinks: Sequence[CameraSink],
) -> None:
    """Serve a source until it ends: one token per pass for each narration and answer.

    Narrations and answers in progress when the source ends are completed. A question that can't be
    answered gets an error, and the session continues.

    Args:
        source: frames and requests by camera.
        engine: the engine of all `streams`.
        streams: a stream for each camera that the source names.
        sinks: called with camera, chunk and narration, in order.

    Raises:
        StreamingVLMError: `engine.see` can't use the source's frames.
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
    """Serve events in order, and complete each before the next is fetched.

    Successive questions are answered together.
    """

    def sink(camera: str, chunk: Chunk, narration: Narration) -> None:
        for each in sinks:
            each(chunk, narration)

    serve(_InOrder(iter(events)), stream.engine, streams={_ONLY: stream}, sinks=[sink])


class _InOrder:
    """A source made of events: the next is fetched when the engine is idle."""

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
            # Earlier questions and frames still belong to the context before the reset.
            engine.finish(stream)
            deliver()
            engine.reset(stream)
            event.request.on_done()
    if parts:
        engine.see(parts)
