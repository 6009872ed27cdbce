"""Streams that have seen some rounds, questions to them, and listeners of the answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.stream import Round, Stream
from streamingvlm_ros.errors import StreamingVLMError
from streamingvlm_ros.types import (
    Answer,
    Ask,
    Chunk,
    ChunkPart,
    FrameSpan,
    HistoryMoment,
    Narration,
    Question,
)

from .conftest import chunk_of


def watched(engine: StreamingEngine, rounds: int) -> Stream:
    stream = engine.open_stream()
    for round in range(rounds):
        stream.step(chunk_of(round))
    return stream


def recent(text: str, round: int) -> Question:
    return Question(text, frames=chunk_of(round, frames=4).frames)


def long_ago(text: str, *rounds: int) -> Question:
    chunks = [chunk_of(round) for round in rounds]
    moments = [
        HistoryMoment(c.frames[0], c.start_ns, c.end_ns, f"round {c.start_ns}") for c in chunks
    ]
    return Question(text, moments=tuple(moments))


class Audience:
    """Asks questions and records the callbacks; stops some answers after a number of pieces."""

    def __init__(self, patience: dict[int, int] | None = None) -> None:
        self.patience, self.asked = patience or {}, 0
        self.spans: dict[int, FrameSpan] = {}
        self.pieces: dict[int, list[str]] = {}
        self.outcomes: dict[int, Answer | StreamingVLMError] = {}
        self.order: list[int] = []

    def on_start(self, number: int, span: FrameSpan) -> bool:
        assert number not in self.spans
        self.spans[number] = span
        return self.patience.get(number, 1) > 0

    def on_token(self, number: int, piece: str) -> bool:
        pieces = self.pieces.setdefault(number, [])
        pieces.append(piece)
        return len(pieces) < self.patience.get(number, 10_000)

    def on_done(self, number: int, outcome: Answer | StreamingVLMError) -> None:
        assert number not in self.outcomes
        self.outcomes[number] = outcome
        self.order.append(number)

    def put(self, stream: Stream, *questions: Question) -> None:
        for question in questions:
            number, self.asked = self.asked, self.asked + 1
            stream.engine.ask(
                stream,
                Ask(
                    question,
                    partial(self.on_done, number),
                    partial(self.on_token, number),
                    partial(self.on_start, number),
                ),
            )

    def ask(self, stream: Stream, *questions: Question) -> list[Answer | StreamingVLMError]:
        self.put(stream, *questions)
        while len(self.outcomes) < len(questions):
            stream.engine.advance()
        return [self.outcomes[number] for number in range(len(questions))]


def narrate(stream: Stream, chunk: Chunk, *, between: Callable[[], None]) -> Narration:
    """Narrate a round, and call `between` before each of its tokens."""
    stream.engine.see([(stream, ChunkPart.whole(chunk))])
    rounds: list[Round] = []
    while not rounds:
        between()
        stream.engine.advance()
        rounds += stream.engine.take_rounds()
    return rounds[0].narration
