"""The worker with an engine that can be made to fail."""

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
from streamingvlm_ros.errors import ModelError, StreamingVLMError
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

from ..node_process import PATIENCE_S

S = 1_000_000_000
PICTURE = np.zeros((8, 8, 3), np.uint8)
PASSES = 3
"""Passes of the engine for a narration; an answer takes one."""


Outcome = Answer | StreamingVLMError


class BreakableStream:
    """Replaces an engine's stream, to fail on demand."""

    def __init__(self) -> None:
        self.broken = False
        self.error: Exception = RuntimeError("out of memory")
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
        """Return a finished round; its text is the number of frames of each part."""
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
            raise self.error


class BreakableEngine:
    """Replaces the engine: sets `started` in a narration, and waits for `may_continue`."""

    def __init__(self, stream: BreakableStream) -> None:
        self._stream = stream
        self._rounds: list[Any] = []
        self.started, self.may_continue = threading.Event(), threading.Event()
        self.may_continue.set()

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
            self.started.set()
            assert self.may_continue.wait(PATIENCE_S)
        if round := self._stream.narrate():
            self._rounds.append(
                SimpleNamespace(stream=self._stream, chunk=round[0], narration=round[1])
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
    """A worker with its inbox, and queues of its narrations and log."""

    def __init__(self) -> None:
        self.stream = BreakableStream()
        self.engine = BreakableEngine(self.stream)
        self.model: Any = SimpleNamespace(
            engine=self.engine, stream=self.stream, sampling=SamplingConfig()
        )
        buffer = ChunkBuffer(FrameConfig(fps=4.0))
        self.inbox = Inbox({CAMERA: buffer}, lambda camera: Reset())
        self.counters = Counters()
        self.narrations: Queue[Narration] = Queue()
        self.logged: Queue[str] = Queue()
        self.worker = Worker(
            self.model,
            self.inbox,
            counters=self.counters,
            sinks=[self.add_narration],
            log_error=self.logged.put,
        )

    def add_narration(self, camera: str, chunk: Chunk, narration: Narration) -> None:
        assert camera == CAMERA
        assert narration.newest_ns == chunk.frames[-1].stamp_ns
        self.narrations.put(narration)

    def frame(self, second: float) -> None:
        self.inbox.put(CAMERA, Frame(PICTURE, round(second * S), "camera"), now_ns=1)

    def second(self, second: int) -> None:
        """Put four frames; the worker may take two before the others arrive."""
        for quarter in range(4):
            self.frame(second + quarter / 4)

    def ask(self) -> Outcome:
        outcomes: Queue[Outcome] = Queue()
        assert self.post(Ask(Question("?"), outcomes.put))
        return outcomes.get(timeout=PATIENCE_S)

    def post(self, request: Ask | Reset) -> bool:
        return self.inbox.post(CAMERA, request)

    def next_narration(self) -> Narration:
        return self.narrations.get(timeout=PATIENCE_S)


@contextmanager
def running_bench() -> Iterator[Bench]:
    bench = Bench()
    bench.worker.start()
    try:
        yield bench
    finally:
        bench.worker.stop("the test is over")


def test_a_failed_round_is_logged_and_counted_and_resets_the_stream() -> None:
    with running_bench() as bench:
        bench.second(1)
        bench.next_narration()
        resets, bench.stream.broken = bench.stream.resets, True
        bench.frame(2.0)
        bench.frame(2.25)
        assert "out of memory" in bench.logged.get(timeout=PATIENCE_S)
        bench.stream.broken = False
        bench.second(3)
        assert bench.next_narration().start_ns == 3 * S
        assert bench.stream.resets == resets + 1
        assert bench.counters.counts()["failures"] == 1


def test_the_rest_of_a_failed_chunk_is_not_narrated() -> None:
    with running_bench() as bench:
        bench.frame(1.0)
        bench.frame(1.25)
        assert isinstance(bench.ask(), Answer)  # the frames are seen before it or with it
        assert isinstance(bench.ask(), Answer)
        assert bench.stream.parts
        bench.stream.broken = True
        assert isinstance(bench.ask(), StreamingVLMError)
        bench.stream.broken = False
        bench.frame(1.5)
        bench.frame(1.75)
        bench.second(2)
        assert bench.next_narration().start_ns == 2 * S


def test_a_chunk_is_seen_in_parts_and_narrated_once() -> None:
    with running_bench() as bench:
        bench.frame(1.0)
        bench.frame(1.25)
        assert isinstance(bench.ask(), Answer)
        assert isinstance(bench.ask(), Answer)
        bench.frame(1.5)
        bench.frame(1.75)
        narration = bench.next_narration()
        assert (narration.text, narration.newest_ns) == ("2+2", S + 3 * S // 4)


def test_a_question_that_fails_gets_the_error() -> None:
    with running_bench() as bench:
        bench.stream.broken = True
        outcome = bench.ask()
        assert isinstance(outcome, StreamingVLMError)
        assert "out of memory" in str(outcome)
        bench.stream.broken = False
        assert isinstance(bench.ask(), Answer)


def test_a_question_is_answered_during_a_narration() -> None:
    with running_bench() as bench:
        bench.engine.may_continue.clear()
        bench.second(1)
        assert bench.engine.started.wait(PATIENCE_S)
        outcomes: Queue[Any] = Queue()
        bench.post(
            Ask(Question("?"), lambda outcome: outcomes.put((outcome, bench.narrations.empty())))
        )
        bench.engine.may_continue.set()
        outcome, narration_is_open = outcomes.get(timeout=PATIENCE_S)
        assert isinstance(outcome, Answer)
        assert narration_is_open
        assert bench.next_narration().start_ns == S


def test_requests_get_a_reply_when_even_the_reset_fails() -> None:
    with running_bench() as bench:
        bench.stream.broken = True
        assert "out of memory" in str(bench.ask())
        assert "out of memory" in str(bench.ask())
        done = threading.Event()
        assert bench.inbox.restart(CAMERA, Reset(done.set))
        assert done.wait(PATIENCE_S)


def test_open_questions_get_the_error_when_a_narration_fails() -> None:
    with running_bench() as bench:
        bench.engine.may_continue.clear()
        bench.second(1)
        assert bench.engine.started.wait(PATIENCE_S)
        outcomes: Queue[Any] = Queue()
        for _ in range(2):
            bench.post(Ask(Question("?"), outcomes.put))
        bench.stream.broken = True
        bench.engine.may_continue.set()
        for _ in range(2):
            assert "out of memory" in str(outcomes.get(timeout=PATIENCE_S))


def test_a_reset_in_a_failed_batch_gets_a_reply() -> None:
    bench = Bench()
    outcomes: Queue[Any] = Queue()
    bench.post(Ask(Question("?"), outcomes.put))
    bench.post(Reset(lambda: outcomes.put("reset")))
    bench.stream.broken = True
    bench.worker.start()
    assert "out of memory" in str(outcomes.get(timeout=PATIENCE_S))
    assert outcomes.get(timeout=PATIENCE_S) == "reset"
    bench.worker.stop("the test is over")


def test_a_model_that_cannot_go_on_ends_the_narration_and_says_so_once() -> None:
    with running_bench() as bench:
        bench.second(1)
        bench.next_narration()
        bench.stream.broken, bench.stream.error = True, ModelError("no numbers")
        outcome = bench.ask()
        assert isinstance(outcome, ModelError)
        assert bench.logged.get(timeout=PATIENCE_S) == "narration has stopped: no numbers"
        assert bench.worker.problem == "narration has stopped: no numbers"
        for second in range(2, 6):
            bench.second(second)
        assert not bench.post(Ask(Question("?"), lambda outcome: None))
        assert not bench.inbox.restart(CAMERA, Reset())
    assert bench.logged.empty()
    assert bench.counters.counts()["failures"] == 1


def test_open_requests_get_the_error_of_a_model_that_cannot_go_on() -> None:
    bench = Bench()
    outcomes: Queue[Any] = Queue()
    bench.post(Ask(Question("?"), outcomes.put))
    bench.post(Reset(lambda: outcomes.put("reset")))
    bench.stream.broken, bench.stream.error = True, ModelError("no numbers")
    bench.worker.start()
    assert "no numbers" in str(outcomes.get(timeout=PATIENCE_S))
    assert outcomes.get(timeout=PATIENCE_S) == "reset"
    bench.worker.stop("the test is over")


def test_stopping_refuses_open_requests_and_finishes_the_narration() -> None:
    bench = Bench()
    bench.worker.start()
    bench.engine.may_continue.clear()
    bench.second(1)
    assert bench.engine.started.wait(PATIENCE_S)
    outcomes: Queue[Any] = Queue()
    bench.post(Ask(Question("?"), outcomes.put))
    bench.post(Reset(lambda: outcomes.put("reset")))
    stopping = threading.Thread(target=bench.worker.stop, args=("deactivated",))
    stopping.start()
    assert "deactivated" in str(outcomes.get(timeout=PATIENCE_S))
    assert outcomes.get(timeout=PATIENCE_S) == "reset"
    bench.engine.may_continue.set()
    stopping.join(PATIENCE_S)
    assert bench.next_narration().start_ns == S


def test_a_worker_that_fails_while_stopping_stops() -> None:
    bench = Bench()
    bench.worker.start()
    bench.engine.may_continue.clear()
    bench.second(1)
    assert bench.engine.started.wait(PATIENCE_S)
    bench.inbox.close()
    bench.stream.broken = True
    bench.engine.may_continue.set()
    bench.worker.stop("the test is over")
    assert bench.logged.qsize() == 1
    assert bench.narrations.empty()


def test_dropped_frames_are_counted_and_reported_with_the_next_narration() -> None:
    bench = Bench()
    for second in range(1, 5):
        bench.second(second)
    bench.worker.start()
    narrations = [bench.next_narration() for _ in range(2)]
    bench.worker.stop("the test is over")
    assert [(n.start_ns // S, n.dropped) for n in narrations] == [(3, 8), (4, 0)]
    assert bench.counters.counts()["frames dropped"] == 8


@pytest.mark.parametrize("temperature", [0.0, 3.0])
def test_new_sampling_settings_apply_to_the_next_request(temperature: float) -> None:
    with running_bench() as bench:
        bench.model.sampling = SamplingConfig(temperature=temperature)
        outcome = bench.ask()
        assert isinstance(outcome, Answer)
        assert outcome.text == str(SamplingConfig(temperature=temperature))
