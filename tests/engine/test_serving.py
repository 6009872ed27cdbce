"""A session on the engine: the order of its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.session import PartEvent, RequestEvent, Reset, serve
from streamingvlm_ros.types import Ask, Chunk, ChunkPart, Narration, Question

from .conftest import chunk_of

MakeEngine = Callable[..., StreamingEngine]
Events = Sequence[PartEvent | RequestEvent]


class Script:
    """A source that hands out a number of events per pass, whatever is in progress."""

    def __init__(self, *passes: Events) -> None:
        self._passes = list(passes)

    def take(self, *, wait: bool, ready: Collection[str]) -> Events | None:
        return self._passes.pop(0) if self._passes else None


def test_a_narration_in_progress_is_delivered_before_a_reset(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(max_answer_tokens=9)
    events: list[str] = []

    def sink(camera: str, chunk: Chunk, narration: Narration) -> None:
        events.append(f"{camera} {narration.sequence}")

    whole = PartEvent("front", ChunkPart.whole(chunk_of(0)))
    ask = Ask(Question("what?"), lambda answer: events.append("answer"))
    reset = Reset(lambda: events.append("reset"))
    script = Script(
        [whole], [RequestEvent("front", ask), RequestEvent("front", reset), whole], [], []
    )
    serve(script, engine, streams={"front": engine.open_stream()}, sinks=[sink])
    assert set(events[:2]) == {"front 0", "answer"}
    assert events[2:] == ["reset", "front 0"]
