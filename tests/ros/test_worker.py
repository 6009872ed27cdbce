"""What the thread that owns the stream does when things go wrong."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import Queue
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamingvlm_ros.config import FrameConfig, SamplingConfig
from streamingvlm_ros.errors import StreamingVLMError
from streamingvlm_ros.frames.buffer import FrameBuffer
from streamingvlm_ros.frames.pictures import BadImageError
from streamingvlm_ros.ros.conversions import to_message
from streamingvlm_ros.ros.diagnostics import Tally
from streamingvlm_ros.ros.view import Sight, View
from streamingvlm_ros.ros.worker import Inbox, Worker
from streamingvlm_ros.session import Reset
from streamingvlm_ros.types import Answer, Ask, Chunk, Narration, Question

from .peer import PATIENCE_S

S = 1_000_000_000


Outcome = Answer | StreamingVLMError


class BreakableStream:
    """Stands in for an engine's stream, whose failures can't be had on demand."""

    def __init__(self) -> None:
        self.broken = False
        self.began, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()
        self.resets = 0
        self.sampling: Any = None

    def step(self, chunk: Chunk, pause: Callable[[], None]) -> Narration:
        self._check()
        self.began.set()
        assert self.may_go_on.wait(PATIENCE_S)
        pause()
        text = "x".join(str(frame.image.shape[0]) for frame in chunk.frames)
        return Narration(text, chunk.start_ns, chunk.end_ns, chunk.newest_ns, dropped=chunk.dropped)

    def answer(self, waiting: deque[Ask]) -> None:
        """There is room for one at a time."""
        ask = waiting.popleft()
        self._check()
        ask.heard("a piece")
        ask.reply(Answer(str(self.sampling), 0, 1))

    def reset(self) -> None:
        self.resets += 1
        self._check()

    def _check(self) -> None:
        if self.broken:
            raise RuntimeError("out of memory")


class Bench:
    """A worker with its inbox, and everything that comes out of it."""

    def __init__(self) -> None:
        self.stream = BreakableStream()
        self.loaded: Any = SimpleNamespace(stream=self.stream, sampling=SamplingConfig())
        self.inbox: Inbox = FrameBuffer(FrameConfig(fps=2.0), Reset, at_once=8)
        self.view, self.tally = View(rounds=2), Tally()
        self.said: Queue[Narration] = Queue()
        self.rejected: Queue[BadImageError] = Queue()
        self.logged: Queue[str] = Queue()
        self.worker = Worker(
            self.loaded,
            self.inbox,
            self.view,
            self.tally,
            self.say,
            self.rejected.put,
            self.logged.put,
        )

    def say(self, narration: Narration, chunk: Chunk) -> None:
        assert narration.newest_ns == chunk.newest_ns
        self.said.put(narration)

    def second(self, second: int, sizes: tuple[int, int] = (8, 8), encoding: str = "rgb8") -> None:
        for half, size in enumerate(sizes):
            stamp_ns = second * S + half * S // 2
            message = to_message(np.zeros((size, size, 3), np.uint8), stamp_ns, "camera")
            message.encoding = encoding
            self.inbox.put(stamp_ns, message, stamp_ns)

    def ask(self) -> Outcome:
        replies: Queue[Outcome] = Queue()
        assert self.inbox.post(Ask(Question("?"), replies.put))
        return replies.get(timeout=PATIENCE_S)


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
        b.said.get(timeout=PATIENCE_S)
        resets, b.stream.broken = b.stream.resets, True
        b.second(2)
        assert "out of memory" in b.logged.get(timeout=PATIENCE_S)
        b.stream.broken = False
        b.second(3)
        assert b.said.get(timeout=PATIENCE_S).start_ns == 3 * S
        assert b.stream.resets == resets + 1
        assert b.tally.counts()["failures"] == 1


def test_a_question_that_breaks_the_model_is_told_so() -> None:
    with bench() as b:
        b.stream.broken = True
        outcome = b.ask()
        assert isinstance(outcome, StreamingVLMError)
        assert "out of memory" in str(outcome)
        b.stream.broken = False
        assert isinstance(b.ask(), Answer)


def test_a_question_is_answered_within_the_round_in_flight() -> None:
    with bench() as b:
        b.stream.may_go_on.clear()
        b.second(1)
        assert b.stream.began.wait(PATIENCE_S)
        replies: Queue[Any] = Queue()
        asked = Ask(Question("?"), lambda outcome: replies.put((outcome, b.said.empty())))
        b.inbox.post(asked)
        b.stream.may_go_on.set()
        outcome, narration_was_to_come = replies.get(timeout=PATIENCE_S)
        assert isinstance(outcome, Answer)
        assert narration_was_to_come
        assert b.said.get(timeout=PATIENCE_S).start_ns == S


def test_of_questions_within_a_round_those_without_room_wait_for_its_end() -> None:
    with bench() as b:
        b.stream.may_go_on.clear()
        b.second(1)
        assert b.stream.began.wait(PATIENCE_S)
        replies: Queue[tuple[int, bool]] = Queue()
        for number in range(3):
            told = partial(lambda number, _: replies.put((number, b.said.empty())), number)
            b.inbox.post(Ask(Question("?"), told))
        b.stream.may_go_on.set()
        assert [replies.get(timeout=PATIENCE_S) for _ in range(3)] == [
            (0, True),
            (1, False),
            (2, False),
        ]


def test_requests_are_replied_to_when_the_stream_cant_even_begin_anew() -> None:
    with bench() as b:
        b.stream.broken = True
        assert "out of memory" in str(b.ask())
        assert "out of memory" in str(b.ask())
        done = threading.Event()
        assert b.inbox.restart(Reset(done.set))
        assert done.wait(PATIENCE_S)


def test_a_question_that_breaks_a_round_is_told_so() -> None:
    with bench() as b:
        b.stream.may_go_on.clear()
        b.second(1)
        assert b.stream.began.wait(PATIENCE_S)
        replies: Queue[Any] = Queue()
        b.inbox.post(Ask(Question("?"), replies.put))
        b.stream.broken = True
        b.stream.may_go_on.set()
        assert "out of memory" in str(replies.get(timeout=PATIENCE_S))


def test_what_is_in_view_is_known_while_a_round_is_in_flight() -> None:
    with bench() as b:
        assert b.view.sight == Sight()
        for second in (1, 2, 3):
            b.second(second)
            b.said.get(timeout=PATIENCE_S)
        b.stream.began.clear()
        b.stream.may_go_on.clear()
        b.second(4)
        assert b.stream.began.wait(PATIENCE_S)
        assert b.view.sight == Sight(3 * S, 4 * S + S // 2, "camera")
        b.stream.may_go_on.set()
        b.said.get(timeout=PATIENCE_S)
        b.stream.broken = True
        b.second(5)
        b.logged.get(timeout=PATIENCE_S)
        b.stream.broken = False
        b.second(6)
        b.said.get(timeout=PATIENCE_S)
        assert b.view.sight == Sight(6 * S, 6 * S + S // 2, "camera")


def test_whoever_waits_when_it_stops_is_told() -> None:
    b = Bench()
    b.worker.start()
    b.stream.may_go_on.clear()
    b.second(1)
    assert b.stream.began.wait(PATIENCE_S)
    replies: Queue[Any] = Queue()
    b.inbox.post(Ask(Question("?"), replies.put))
    b.inbox.post(Reset(lambda: replies.put("reset")))
    stopping = threading.Thread(target=b.worker.stop, args=("deactivated",))
    stopping.start()
    assert "deactivated" in str(replies.get(timeout=PATIENCE_S))
    assert replies.get(timeout=PATIENCE_S) == "reset"
    b.stream.may_go_on.set()
    stopping.join(PATIENCE_S)
    assert b.said.get(timeout=PATIENCE_S).start_ns == S


def test_frames_of_another_size_than_the_newest_are_left_out() -> None:
    with bench() as b:
        b.second(1, sizes=(8, 12))
        assert b.said.get(timeout=PATIENCE_S).text == "12"
        assert b.rejected.get(timeout=PATIENCE_S).reason == "changed"


def test_what_was_dropped_before_a_chunk_of_bad_images_is_told_with_the_next() -> None:
    b = Bench()
    b.second(1)
    b.second(2)
    b.second(3, encoding="yuv422", sizes=(7, 7))
    b.second(4)
    b.worker.start()
    narration = b.said.get(timeout=PATIENCE_S)
    b.worker.stop("the test is over")
    assert (narration.start_ns, narration.dropped) == (4 * S, 4)
    assert b.rejected.qsize() == 2
    assert b.tally.counts()["frames dropped"] == 4


@pytest.mark.parametrize("temperature", [0.0, 3.0])
def test_new_sampling_holds_for_the_next_request(temperature: float) -> None:
    with bench() as b:
        b.loaded.sampling = SamplingConfig(temperature=temperature)
        outcome = b.ask()
        assert isinstance(outcome, Answer)
        assert outcome.text == str(SamplingConfig(temperature=temperature))
