"""What the thread that owns the stream does when things go wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamingvlm_ros.config import FrameConfig, SamplingConfig
from streamingvlm_ros.errors import StreamingVLMError
from streamingvlm_ros.frames.buffer import FrameBuffer
from streamingvlm_ros.ros.conversions import BadImageError, to_message
from streamingvlm_ros.ros.diagnostics import Tally
from streamingvlm_ros.ros.worker import Inbox, Worker
from streamingvlm_ros.session import Question, Reset
from streamingvlm_ros.types import Answer, Chunk, Narration

S = 1_000_000_000


class BreakableStream:
    """Stands in for an engine's stream, whose failures can't be had on demand."""

    def __init__(self) -> None:
        self.broken = False
        self.began, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()
        self.resets = 0
        self.sampling: Any = None

    def step(self, chunk: Chunk) -> Narration:
        self._check()
        self.began.set()
        assert self.may_go_on.wait(5)
        text = "x".join(str(frame.image.shape[0]) for frame in chunk.frames)
        return Narration(text, chunk.start_ns, chunk.end_ns, chunk.newest_ns, dropped=chunk.dropped)

    def ask(self, text: str, max_tokens: int | None) -> Answer:
        self._check()
        return Answer(str(self.sampling), 0, 1)

    def reset(self) -> None:
        self.resets += 1

    def _check(self) -> None:
        if self.broken:
            raise RuntimeError("out of memory")


class Bench:
    """A worker with its inbox, and everything that comes out of it."""

    def __init__(self) -> None:
        self.stream = BreakableStream()
        self.loaded: Any = SimpleNamespace(stream=self.stream, sampling=SamplingConfig())
        self.inbox: Inbox = FrameBuffer(FrameConfig(fps=2.0), Reset)
        self.tally = Tally()
        self.said: Queue[Narration] = Queue()
        self.rejected: Queue[BadImageError] = Queue()
        self.logged: Queue[str] = Queue()
        self.worker = Worker(
            self.loaded, self.inbox, self.tally, self.said.put, self.rejected.put, self.logged.put
        )

    def second(self, second: int, sizes: tuple[int, int] = (8, 8), encoding: str = "rgb8") -> None:
        for half, size in enumerate(sizes):
            stamp_ns = second * S + half * S // 2
            message = to_message(np.zeros((size, size, 3), np.uint8), stamp_ns, "camera")
            message.encoding = encoding
            self.inbox.put(stamp_ns, message, stamp_ns)

    def ask(self) -> Answer | StreamingVLMError:
        replies: Queue[Answer | StreamingVLMError] = Queue()
        assert self.inbox.post(Question("?", replies.put))
        return replies.get(timeout=5)


@contextmanager
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.worker.start()
    try:
        yield bench
    finally:
        bench.worker.stop()


def test_a_failed_round_is_logged_and_counted_and_the_next_goes_on_with_an_empty_stream() -> None:
    with bench() as b:
        b.second(1)
        b.said.get(timeout=5)
        resets, b.stream.broken = b.stream.resets, True
        b.second(2)
        assert "out of memory" in b.logged.get(timeout=5)
        b.stream.broken = False
        b.second(3)
        assert b.said.get(timeout=5).start_ns == 3 * S
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


def test_whoever_waits_when_it_stops_is_told() -> None:
    b = Bench()
    b.worker.start()
    b.stream.may_go_on.clear()
    b.second(1)
    assert b.stream.began.wait(5)
    replies: Queue[Any] = Queue()
    b.inbox.post(Question("?", replies.put))
    b.inbox.post(Reset(lambda: replies.put("reset")))
    stopping = threading.Thread(target=b.worker.stop)
    stopping.start()
    assert "deactivated" in str(replies.get(timeout=5))
    assert replies.get(timeout=5) == "reset"
    b.stream.may_go_on.set()
    stopping.join(5)
    assert b.said.get(timeout=5).start_ns == S


def test_frames_of_another_size_than_the_newest_are_left_out() -> None:
    with bench() as b:
        b.second(1, sizes=(8, 12))
        assert b.said.get(timeout=5).text == "12"
        assert b.rejected.get(timeout=5).reason == "changed"


def test_what_was_dropped_before_a_chunk_of_bad_images_is_told_with_the_next() -> None:
    b = Bench()
    b.second(1)
    b.second(2)
    b.second(3, encoding="yuv422", sizes=(7, 7))
    b.second(4)
    b.worker.start()
    narration = b.said.get(timeout=5)
    b.worker.stop()
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
