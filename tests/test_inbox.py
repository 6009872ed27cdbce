"""The queue between threads: the worker's next events and their order."""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import suppress
from queue import Queue

import numpy as np
import pytest

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.frames.chunk_buffer import ChunkBuffer
from streamingvlm_ros.frames.chunker import SampleResult
from streamingvlm_ros.frames.image_decoding import BadImageError
from streamingvlm_ros.inbox import Inbox
from streamingvlm_ros.session import PartEvent, Request, RequestEvent, Reset
from streamingvlm_ros.types import Ask, Frame, Question

S = 1_000_000_000
PATIENCE_S = 60
FRONT, REAR = "front", "rear"


class Jumps:
    """Makes and records the request for a clock that was set back."""

    def __init__(self) -> None:
        self.resets: list[tuple[str, Reset]] = []

    def __call__(self, camera: str) -> Reset:
        self.resets.append((camera, Reset(lambda: None)))
        return self.resets[-1][1]


def new_inbox(jumps: Jumps | None = None) -> Inbox:
    config = FrameConfig(fps=4.0, backlog_chunks=2)
    buffers = {name: ChunkBuffer(config, recent_frames=2) for name in (FRONT, REAR)}
    return Inbox(buffers, jumps or Jumps())


def question() -> Ask:
    return Ask(Question("?"), lambda outcome: None)


def arrive(inbox: Inbox, camera: str, *, stamp_ns: int, size: int = 4) -> SampleResult:
    result = inbox.wants(camera, stamp_ns)
    if result is SampleResult.SAMPLED:
        return inbox.put(camera, Frame(np.zeros((size, size, 3), np.uint8), stamp_ns), now_ns=1)
    return result


def fill(inbox: Inbox, camera: str, *, seconds: range) -> None:
    for ns in range(seconds.start * S, seconds.stop * S, S // 4):
        arrive(inbox, camera, stamp_ns=ns)


Taken = tuple[str, int, int] | Request
"""A part's camera, second and number of frames; or a request."""


def take(inbox: Inbox, *, wait: bool = False, ready: Collection[str] = (FRONT,)) -> list[Taken]:
    events = inbox.take(wait=wait, ready=ready)
    assert events is not None
    return [
        (event.camera, event.part.start_ns // S, len(event.part.frames))
        if isinstance(event, PartEvent)
        else event.request
        for event in events
    ]


def test_all_requests_precede_parts() -> None:
    inbox = new_inbox()
    fill(inbox, FRONT, seconds=range(3, 5))
    asked = [question() for _ in range(3)]
    assert all(inbox.post(FRONT, ask) for ask in asked)
    assert take(inbox) == [*asked, (FRONT, 3, 4)]
    assert take(inbox) == [(FRONT, 4, 4)]
    assert take(inbox) == []


def test_a_request_names_its_camera() -> None:
    inbox, ask = new_inbox(), question()
    inbox.post(REAR, ask)
    assert inbox.take(wait=False, ready=()) == [RequestEvent(REAR, ask)]


def test_each_ready_camera_gives_one_part() -> None:
    inbox = new_inbox()
    for camera in (FRONT, REAR):
        fill(inbox, camera, seconds=range(3, 5))
    assert take(inbox, ready=(REAR,)) == [(REAR, 3, 4)]
    assert take(inbox, ready=(FRONT, REAR)) == [(FRONT, 3, 4), (REAR, 4, 4)]
    assert take(inbox, ready=()) == []
    assert take(inbox, ready=(FRONT, REAR)) == [(FRONT, 4, 4)]


def test_a_withdrawn_request_is_not_handed_out() -> None:
    inbox = new_inbox()
    asked = [question() for _ in range(3)]
    for ask in asked:
        inbox.post(FRONT, ask)
    inbox.withdraw(asked[1])
    assert take(inbox) == [asked[0], asked[2]]
    inbox.withdraw(asked[0])


def test_a_restart_comes_before_every_later_part_and_after_earlier_requests() -> None:
    inbox = new_inbox()
    before, after, reset = question(), question(), Reset(lambda: None)
    inbox.post(FRONT, before)
    fill(inbox, FRONT, seconds=range(3, 5))
    fill(inbox, REAR, seconds=range(3, 4))
    assert inbox.restart(FRONT, reset)
    inbox.post(FRONT, after)
    fill(inbox, FRONT, seconds=range(6, 7))
    assert take(inbox, ready=(FRONT, REAR)) == [before, reset, after, (FRONT, 6, 4), (REAR, 3, 4)]


def test_a_clock_set_back_restarts_only_its_camera() -> None:
    jumps = Jumps()
    inbox = new_inbox(jumps)
    for camera in (FRONT, REAR):
        fill(inbox, camera, seconds=range(100, 102))
    # Even by a frame that is not sampled: the camera's first chunk has already begun.
    assert inbox.wants(FRONT, 5 * S + S // 2) is SampleResult.UNUSED
    fill(inbox, FRONT, seconds=range(6, 7))
    ((camera, reset),) = jumps.resets
    assert camera == FRONT
    events = inbox.take(wait=False, ready=(FRONT, REAR)) or ()
    assert [event.request for event in events if isinstance(event, RequestEvent)] == [reset]
    parts = {event.camera: event.part for event in events if isinstance(event, PartEvent)}
    assert (parts[FRONT].start_ns, parts[FRONT].dropped) == (6 * S, 8)
    assert (parts[REAR].start_ns, parts[REAR].dropped) == (100 * S, 0)


def test_only_frames_that_will_be_sampled_are_wanted() -> None:
    inbox = new_inbox()
    assert arrive(inbox, FRONT, stamp_ns=3 * S) is SampleResult.SAMPLED
    assert inbox.wants(FRONT, 3 * S + 1) is SampleResult.UNUSED
    assert inbox.wants(FRONT, 3 * S) is SampleResult.LATE


def test_a_frame_of_another_size_is_refused_and_its_chunk_continues() -> None:
    inbox = new_inbox()
    arrive(inbox, FRONT, stamp_ns=3 * S)
    with pytest.raises(BadImageError):
        arrive(inbox, FRONT, stamp_ns=3 * S + S // 4, size=6)
    inbox.skip(FRONT, 3 * S + S // 4, now_ns=1)
    arrive(inbox, FRONT, stamp_ns=3 * S + S // 2)
    assert take(inbox) == [(FRONT, 3, 2)]
    inbox.skip(FRONT, 3 * S + 3 * S // 4, now_ns=1)
    assert take(inbox) == [(FRONT, 3, 0)]


def test_the_rest_of_chunks_that_have_begun_is_dropped_and_others_stay() -> None:
    inbox = new_inbox()
    for camera in (FRONT, REAR):
        arrive(inbox, camera, stamp_ns=3 * S)
        arrive(inbox, camera, stamp_ns=3 * S + S // 4)
    assert take(inbox) == [(FRONT, 3, 2)]
    inbox.drop_started()
    arrive(inbox, FRONT, stamp_ns=3 * S + S // 2)
    arrive(inbox, FRONT, stamp_ns=3 * S + 3 * S // 4)
    assert take(inbox, ready=(FRONT, REAR)) == [(REAR, 3, 2)]


def test_the_newest_frames_and_the_backlog_are_those_of_one_camera() -> None:
    inbox = new_inbox()
    fill(inbox, FRONT, seconds=range(3, 4))
    assert [frame.stamp_ns for frame in inbox.newest(FRONT)] == [3 * S + S // 2, 3 * S + 3 * S // 4]
    assert inbox.newest(REAR) == ()
    assert (inbox.backlog(FRONT), inbox.backlog(REAR)) == (1, 0)


def test_a_waiting_worker_is_woken_by_every_usable_event() -> None:
    inbox = new_inbox()
    taken: Queue[list[Taken]] = Queue()

    def work() -> None:
        with suppress(AssertionError):  # The inbox is closed.
            while True:
                taken.put(take(inbox, wait=True))

    worker = threading.Thread(target=work)
    worker.start()
    ask, reset = question(), Reset(lambda: None)
    inbox.post(REAR, ask)
    assert taken.get(timeout=PATIENCE_S) == [ask]
    # The worker can't use these: another camera's part, and a single frame.
    fill(inbox, REAR, seconds=range(3, 4))
    arrive(inbox, FRONT, stamp_ns=3 * S)
    inbox.restart(FRONT, reset)
    assert taken.get(timeout=PATIENCE_S) == [reset]
    arrive(inbox, FRONT, stamp_ns=4 * S)
    arrive(inbox, FRONT, stamp_ns=4 * S + S // 4)
    assert taken.get(timeout=PATIENCE_S) == [(FRONT, 4, 2)]
    inbox.expire(100 * S)
    assert taken.get(timeout=PATIENCE_S) == [(FRONT, 4, 0)]
    inbox.close()
    worker.join(PATIENCE_S)
    assert not worker.is_alive()
    assert taken.empty()


def test_closing_ends_the_worker_and_returns_unserved_requests() -> None:
    inbox, ask = new_inbox(), question()
    inbox.post(FRONT, ask)
    fill(inbox, FRONT, seconds=range(3, 4))
    assert inbox.close() == [ask]
    assert inbox.take(wait=True, ready=(FRONT,)) is None
    assert inbox.take(wait=False, ready=(FRONT,)) is None
    assert not inbox.post(FRONT, question())
    assert not inbox.restart(FRONT, Reset(lambda: None))
