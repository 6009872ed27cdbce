"""What the thread that owns the engine does when things go wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Queue
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamingvlm_ros.config import FrameConfig, SamplingConfig
from streamingvlm_ros.errors import StreamingVLMError
from streamingvlm_ros.frames.chunk_buffer import ChunkBuffer
from streamingvlm_ros.inbox import Inbox
from streamingvlm_ros.ros.diagnostics import Counters
from streamingvlm_ros.ros.narrator.worker import CAMERA, Worker
from streamingvlm_ros.session import Reset
from streamingvlm_ros.types import (
    Answer,
    Ask,
    Chunk,
    ChunkPart,
    Frame,
    FrameSpan,
    Narration,
    Question,
)

from .peer import PATIENCE_S

S = 1_000_000_000
PICTURE = np.zeros((8, 8, 3), np.uint8)
PASSES = 3
"""Passes of the engine in which a narration is said; an answer takes one."""


Outcome = Answer | StreamingVLMError


class BreakableStream:
    """Stands in for an engine's stream, whose failures can't be had on demand."""

    def __init__(self) -> None:
        self.broken = False
        self.parts: list[ChunkPart] = []
        self.asks: list[Ask] = []
        self.passes_left = 0
        self.resets = 0
        self.sampling: Any = None

    @property
    def ready(self) -> bool:
        return not self.passes_left

    def see(self, part: ChunkPart) -> None:
        self.check()
        self.parts.append(part)
        if part.last:
            self.passes_left = PASSES

    def ask(self, ask: Ask) -> None:
        self.check()
        self.asks.append(ask)

    def reset(self) -> None:
        self.resets += 1
        self.check()
        self.parts, self.passes_left = [], 0

    def answer(self) -> None:
        while self.asks:
            self.check()
            ask = self.asks[0]
            ask.on_start(FrameSpan())
            ask.on_token("a piece")
            ask.on_done(Answer(str(self.sampling), 0, 1))
            self.asks.pop(0)

    def narrate(self) -> tuple[Chunk, Narration] | None:
        """What is said is how many frames came in each part."""
        if not self.passes_left:
            return None
        self.check()
        self.passes_left -= 1
        if self.passes_left:
            return None
        frames = tuple(frame for part in self.parts for frame in part.frames)
        text = "+".join(str(len(part.frames)) for part in self.parts)
        first, self.parts = self.parts[0], []
        chunk = Chunk(frames, first.start_ns, first.end_ns, first.dropped)
        return chunk, Narration(
            text, chunk.start_ns, chunk.end_ns, chunk.frames[-1].stamp_ns, dropped=chunk.dropped
        )

    def check(self) -> None:
        if self.broken:
            raise RuntimeError("out of memory")


class BreakableEngine:
    """Stands in for the engine: `began` a narration, which goes on when it `may_go_on`."""

    def __init__(self, stream: BreakableStream) -> None:
        self._stream = stream
        self._rounds: list[Any] = []
        self.began, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()

    @property
    def busy(self) -> bool:
        return bool(self._stream.asks or self._stream.passes_left)

    def see(self, parts: Sequence[tuple[BreakableStream, ChunkPart]]) -> None:
        for stream, part in parts:
            stream.see(part)

    def ask(self, stream: BreakableStream, ask: Ask) -> None:
        stream.ask(ask)

    def reset(self, stream: BreakableStream) -> None:
        stream.reset()

    def advance(self) -> None:
        if self._stream.passes_left:
            self.began.set()
            assert self.may_go_on.wait(PATIENCE_S)
        if said := self._stream.narrate():
            self._rounds.append(
                SimpleNamespace(stream=self._stream, chunk=said[0], narration=said[1])
            )
        self._stream.answer()

    def take_rounds(self) -> list[Any]:
        rounds, self._rounds = self._rounds, []
        return rounds

    def finish(self, stream: BreakableStream) -> None:
        while self.busy:
            self.advance()

    def abort(self, error: StreamingVLMError) -> None:
        for ask in self._stream.asks:
            ask.on_done(error)
        self._stream.asks, self._stream.passes_left = [], 0


class Bench:
    """A worker with its inbox, and everything that comes out of it."""

    def __init__(self) -> None:
        self.stream = BreakableStream()
        self.engine = BreakableEngine(self.stream)
        self.loaded: Any = SimpleNamespace(
            engine=self.engine, stream=self.stream, sampling=SamplingConfig()
        )
        buffer = ChunkBuffer(FrameConfig(fps=4.0))
        self.inbox = Inbox({CAMERA: buffer}, lambda camera: Reset())
        self.counters = Counters()
        self.narrations: Queue[Narration] = Queue()
        self.logged: Queue[str] = Queue()
        self.worker = Worker(
            self.loaded,
            self.inbox,
            counters=self.counters,
            publish=self.publish,
            log_error=self.logged.put,
        )

    def publish(self, camera: str, chunk: Chunk, narration: Narration) -> None:
        assert camera == CAMERA
        assert narration.newest_ns == chunk.frames[-1].stamp_ns
        self.narrations.put(narration)

    def frame(self, second: float) -> None:
        self.inbox.put(CAMERA, Frame(PICTURE, round(second * S), "camera"), now_ns=1)

    def second(self, second: int) -> None:
        """Four frames, of which the worker may take two before the others are there."""
        for quarter in range(4):
            self.frame(second + quarter / 4)

    def ask(self) -> Outcome:
        outcomes: Queue[Outcome] = Queue()
        assert self.post(Ask(Question("?"), outcomes.put))
        return outcomes.get(timeout=PATIENCE_S)

    def post(self, request: Ask | Reset) -> bool:
        return self.inbox.post(CAMERA, request)

    def narrated(self) -> Narration:
        return self.narrations.get(timeout=PATIENCE_S)


@contextmanager
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.worker.start()
    try:
        yield bench
    finally:
        bench.worker.stop("the test is over")


def test_a_failed_round_is_logged_and_counted_and_the_next_goes_on_with_an_empty_stream() -> None:
    with bench() as b:
        b.second(1)
        b.narrated()
        resets, b.stream.broken = b.stream.resets, True
        b.frame(2.0)
        b.frame(2.25)
        assert "out of memory" in b.logged.get(timeout=PATIENCE_S)
        b.stream.broken = False
        b.second(3)
        assert b.narrated().start_ns == 3 * S
        assert b.stream.resets == resets + 1
        assert b.counters.counts()["failures"] == 1


def test_the_rest_of_a_chunk_that_failed_half_way_is_not_narrated() -> None:
    with bench() as b:
        b.frame(1.0)
        b.frame(1.25)
        assert isinstance(b.ask(), Answer)  # the pair is seen before or with it
        assert isinstance(b.ask(), Answer)
        assert b.stream.parts
        b.stream.broken = True
        assert isinstance(b.ask(), StreamingVLMError)
        b.stream.broken = False
        b.frame(1.5)
        b.frame(1.75)
        b.second(2)
        assert b.narrated().start_ns == 2 * S


def test_a_chunk_is_seen_in_parts_and_narrated_whole() -> None:
    with bench() as b:
        b.frame(1.0)
        b.frame(1.25)
        assert isinstance(b.ask(), Answer)
        assert isinstance(b.ask(), Answer)
        b.frame(1.5)
        b.frame(1.75)
        narration = b.narrated()
        assert (narration.text, narration.newest_ns) == ("2+2", S + 3 * S // 4)


def test_a_question_that_breaks_the_model_is_told_so() -> None:
    with bench() as b:
        b.stream.broken = True
        outcome = b.ask()
        assert isinstance(outcome, StreamingVLMError)
        assert "out of memory" in str(outcome)
        b.stream.broken = False
        assert isinstance(b.ask(), Answer)


def test_a_question_is_answered_while_a_narration_is_in_flight() -> None:
    with bench() as b:
        b.engine.may_go_on.clear()
        b.second(1)
        assert b.engine.began.wait(PATIENCE_S)
        outcomes: Queue[Any] = Queue()
        b.post(Ask(Question("?"), lambda outcome: outcomes.put((outcome, b.narrations.empty()))))
        b.engine.may_go_on.set()
        outcome, narration_was_to_come = outcomes.get(timeout=PATIENCE_S)
        assert isinstance(outcome, Answer)
        assert narration_was_to_come
        assert b.narrated().start_ns == S


def test_requests_are_replied_to_when_the_stream_cant_even_begin_anew() -> None:
    with bench() as b:
        b.stream.broken = True
        assert "out of memory" in str(b.ask())
        assert "out of memory" in str(b.ask())
        done = threading.Event()
        assert b.inbox.restart(CAMERA, Reset(done.set))
        assert done.wait(PATIENCE_S)


def test_questions_that_are_open_when_a_narration_fails_are_told_so() -> None:
    with bench() as b:
        b.engine.may_go_on.clear()
        b.second(1)
        assert b.engine.began.wait(PATIENCE_S)
        outcomes: Queue[Any] = Queue()
        for _ in range(2):
            b.post(Ask(Question("?"), outcomes.put))
        b.stream.broken = True
        b.engine.may_go_on.set()
        for _ in range(2):
            assert "out of memory" in str(outcomes.get(timeout=PATIENCE_S))


def test_a_reset_in_a_batch_that_fails_is_replied_to() -> None:
    b = Bench()
    outcomes: Queue[Any] = Queue()
    b.post(Ask(Question("?"), outcomes.put))
    b.post(Reset(lambda: outcomes.put("reset")))
    b.stream.broken = True
    b.worker.start()
    assert "out of memory" in str(outcomes.get(timeout=PATIENCE_S))
    assert outcomes.get(timeout=PATIENCE_S) == "reset"
    b.worker.stop("the test is over")


def test_whoever_waits_when_it_stops_is_told_and_the_narration_in_flight_is_finished() -> None:
    b = Bench()
    b.worker.start()
    b.engine.may_go_on.clear()
    b.second(1)
    assert b.engine.began.wait(PATIENCE_S)
    outcomes: Queue[Any] = Queue()
    b.post(Ask(Question("?"), outcomes.put))
    b.post(Reset(lambda: outcomes.put("reset")))
    stopping = threading.Thread(target=b.worker.stop, args=("deactivated",))
    stopping.start()
    assert "deactivated" in str(outcomes.get(timeout=PATIENCE_S))
    assert outcomes.get(timeout=PATIENCE_S) == "reset"
    b.engine.may_go_on.set()
    stopping.join(PATIENCE_S)
    assert b.narrated().start_ns == S


def test_one_that_fails_while_it_stops_stops() -> None:
    b = Bench()
    b.worker.start()
    b.engine.may_go_on.clear()
    b.second(1)
    assert b.engine.began.wait(PATIENCE_S)
    b.inbox.close()
    b.stream.broken = True
    b.engine.may_go_on.set()
    b.worker.stop("the test is over")
    assert b.logged.qsize() == 1
    assert b.narrations.empty()


def test_what_is_dropped_is_counted_and_told_with_the_next_narration() -> None:
    b = Bench()
    for second in range(1, 5):
        b.second(second)
    b.worker.start()
    narrations = [b.narrated() for _ in range(2)]
    b.worker.stop("the test is over")
    assert [(n.start_ns // S, n.dropped) for n in narrations] == [(3, 8), (4, 0)]
    assert b.counters.counts()["frames dropped"] == 8


@pytest.mark.parametrize("temperature", [0.0, 3.0])
def test_new_sampling_holds_for_the_next_request(temperature: float) -> None:
    with bench() as b:
        b.loaded.sampling = SamplingConfig(temperature=temperature)
        outcome = b.ask()
        assert isinstance(outcome, Answer)
        assert outcome.text == str(SamplingConfig(temperature=temperature))
