"""The loop that serves a source: it ends after the source and the last turn have ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from streamingvlm_ros.session import PartEvent, RequestEvent, serve
from streamingvlm_ros.types import Ask, Question


class ReadyStream:
    """Stands in for a stream that is ready for a part."""

    ready = True


class BusyEngine:
    """Stands in for an engine: a question keeps it busy for five passes."""

    def __init__(self) -> None:
        self.passes_left = 0

    @property
    def busy(self) -> bool:
        return self.passes_left > 0

    def ask(self, stream: Any, ask: Ask) -> None:
        self.passes_left = 5

    def advance(self) -> None:
        self.passes_left = max(0, self.passes_left - 1)

    def take_rounds(self) -> list[Any]:
        return []


class ShortSource:
    """Gives its events once, and has then ended."""

    def __init__(self, events: Sequence[PartEvent | RequestEvent]) -> None:
        self.answers: list[Sequence[PartEvent | RequestEvent] | None] = [events, None]

    def take(
        self, *, wait: bool, ready: Collection[str]
    ) -> Sequence[PartEvent | RequestEvent] | None:
        return self.answers.pop(0)


def test_an_ended_source_is_not_read_again_while_turns_finish() -> None:
    engine: Any = BusyEngine()
    source = ShortSource([RequestEvent("front", Ask(Question("?"), print))])
    stream: Any = ReadyStream()
    serve(source, engine, streams={"front": stream}, sinks=[])
    assert not engine.busy
    assert source.answers == []
