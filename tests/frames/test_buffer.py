"""Between two threads: what is handed out, in which order, and what is counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Queue

from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.frames.buffer import GRACE_NS, FrameBuffer
from streamingvlm_ros.frames.sampler import RawChunk, Verdict

S = 1_000_000_000
CONFIG = FrameConfig(fps=2.0, chunk_seconds=1.0, backlog_chunks=2)
HALF_A_SECOND = S // 2


def new_buffer(config: FrameConfig = CONFIG) -> FrameBuffer[int, str]:
    return FrameBuffer(config, on_jump=lambda: "jumped back", at_once=3, keep=4)


def fill(buffer: FrameBuffer[int, str], seconds: range) -> None:
    for ns in range(seconds.start * S, seconds.stop * S, HALF_A_SECOND):
        buffer.put(ns, ns, now_ns=ns)


def waiting(buffer: FrameBuffer[int, str]) -> Iterator[RawChunk[int] | tuple[str, ...]]:
    """What can be read without waiting."""
    events = iter(buffer)
    while buffer.backlog or buffer._requests:
        yield next(events)


def test_chunks_come_out_in_order() -> None:
    buffer = new_buffer()
    fill(buffer, range(10, 12))
    assert [c.start_ns for c in waiting(buffer) if isinstance(c, RawChunk)] == [10 * S, 11 * S]


def test_a_slow_reader_gets_the_newest_chunks_and_the_number_of_lost_frames() -> None:
    buffer = new_buffer()
    fill(buffer, range(0, 10))
    got = [(c.start_ns // S, c.dropped) for c in waiting(buffer) if isinstance(c, RawChunk)]
    assert got == [(8, 16), (9, 0)]


def test_requests_go_before_chunks() -> None:
    buffer = new_buffer()
    fill(buffer, range(0, 1))
    assert buffer.post("question")
    assert next(iter(buffer)) == ("question",)


def told(event: RawChunk[int] | tuple[str, ...]) -> str:
    return str(event.start_ns // S) if isinstance(event, RawChunk) else "".join(event)


def test_many_requests_are_handed_out_together_and_let_a_chunk_through_in_turn() -> None:
    buffer = new_buffer()
    fill(buffer, range(0, 2))
    for request in "abcdefgh":
        buffer.post(request)
    assert [told(event) for event in waiting(buffer)] == ["abc", "0", "def", "1", "gh"]


def test_requests_may_interject_once_per_chunk() -> None:
    buffer = new_buffer()
    events = iter(buffer)
    fill(buffer, range(0, 2))
    assert told(next(events)) == "0"
    assert buffer.interjected() == ()
    for request in "abcdef":
        buffer.post(request)
    assert buffer.interjected() == ("a", "b", "c")
    assert buffer.interjected() == ()
    assert told(next(events)) == "1"
    buffer.restart("R")
    buffer.withdraw("d")
    # What began anew does not interject, nor does anything before it.
    assert buffer.interjected() == ()
    assert told(next(events)) == "efR"


def test_a_chunk_never_overtakes_what_begins_anew() -> None:
    buffer = new_buffer()
    for request in "abcd":
        buffer.post(request)
    fill(buffer, range(9, 10))
    buffer.restart("R")
    for request in "efg":
        buffer.post(request)
    fill(buffer, range(0, 1))
    assert [told(event) for event in waiting(buffer)] == ["abc", "dRe", "0", "fg"]


def test_a_chunk_waits_for_nobody_who_has_withdrawn() -> None:
    buffer = new_buffer()
    for request in "abc":
        buffer.post(request)
    buffer.restart("R")
    for request in "def":
        buffer.post(request)
    buffer.withdraw("b")
    buffer.withdraw("e")
    fill(buffer, range(0, 1))
    assert [told(event) for event in waiting(buffer)] == ["acR", "0", "df"]


def test_what_is_withdrawn_is_not_handed_out() -> None:
    buffer = new_buffer()
    for request in "abc":
        buffer.post(request)
    buffer.withdraw("b")
    assert list(waiting(buffer)) == [("a", "c")]
    buffer.withdraw("a")


def test_the_newest_frames_are_kept_and_no_more_of_them() -> None:
    buffer = new_buffer()
    assert buffer.newest() == []
    fill(buffer, range(10, 20))
    buffer.put(20 * S, 7, now_ns=0)
    buffer.put(20 * S + 1, 8, now_ns=0)  # not sampled: its slot is taken
    stamps = [(18 * S + S // 2), 19 * S, 19 * S + S // 2]
    assert buffer.newest() == [*((ns, ns) for ns in stamps), (20 * S, 7)]
    list(waiting(buffer))
    assert len(buffer.newest()) == 4


def test_frames_of_before_a_restart_or_a_jump_are_not_the_newest() -> None:
    buffer = new_buffer()
    fill(buffer, range(10, 12))
    buffer.restart("reset")
    assert buffer.newest() == []
    fill(buffer, range(12, 14))
    buffer.put(3 * S, 1, now_ns=0)
    assert buffer.newest() == [(3 * S, 1)]


def test_a_request_wakes_a_reader_that_has_no_frames() -> None:
    buffer = new_buffer()
    got: Queue[object] = Queue()
    reader = threading.Thread(target=lambda: [got.put(event) for event in buffer])
    reader.start()
    buffer.post("question")
    assert got.get(timeout=60) == ("question",)
    fill(buffer, range(0, 1))
    assert isinstance(got.get(timeout=60), RawChunk)
    buffer.close()
    reader.join(60)
    assert not reader.is_alive()


def test_a_camera_that_stops_within_a_chunk_gives_it_up_after_a_grace() -> None:
    buffer = new_buffer()
    buffer.put(3 * S, 1, now_ns=100 * S)
    buffer.expire(101 * S + GRACE_NS - 1)
    assert buffer.backlog == 0
    buffer.expire(101 * S + GRACE_NS)
    (chunk,) = waiting(buffer)
    assert chunk == RawChunk(((3 * S, 1),), 3 * S, 4 * S)


def test_a_chunk_expires_once() -> None:
    buffer = new_buffer()
    buffer.put(3 * S, 1, now_ns=1)
    buffer.expire(100 * S)
    buffer.expire(200 * S)
    assert buffer.backlog == 1


def test_a_chunk_from_before_the_clock_began_is_given_its_time_from_there_on() -> None:
    buffer = new_buffer()
    begin_ns = 1_700_000_000 * S
    buffer.put(begin_ns, 1, now_ns=0)
    buffer.expire(0)
    buffer.expire(begin_ns)
    buffer.expire(begin_ns + S + GRACE_NS - 1)
    assert buffer.backlog == 0
    buffer.expire(begin_ns + S + GRACE_NS)
    assert buffer.backlog == 1


def test_a_clock_set_back_throws_away_what_waits_and_begins_anew() -> None:
    buffer = new_buffer()
    fill(buffer, range(100, 102))
    buffer.put(102 * S, 0, 0)
    assert buffer.put(5 * S, 0, 0) is Verdict.SAMPLED
    fill(buffer, range(5, 7))
    request, first, second = waiting(buffer)
    assert request == ("jumped back",)
    assert isinstance(first, RawChunk)
    assert isinstance(second, RawChunk)
    assert (first.start_ns, first.dropped) == (5 * S, 5)
    assert (second.start_ns, second.dropped) == (6 * S, 0)


def test_a_stamp_less_than_a_chunk_back_is_late_and_nothing_else() -> None:
    buffer = new_buffer()
    buffer.put(5 * S, 0, 0)
    assert buffer.put(5 * S - 1, 0, 0) is Verdict.LATE
    assert buffer.put(5 * S + HALF_A_SECOND, 0, 0) is Verdict.SAMPLED
    (chunk,) = waiting(buffer)
    assert isinstance(chunk, RawChunk)
    assert len(chunk.frames) == 2


def test_a_restart_forgets_frames_that_came_before() -> None:
    buffer = new_buffer()
    fill(buffer, range(0, 2))
    buffer.restart("reset")
    fill(buffer, range(2, 3))
    request, chunk = waiting(buffer)
    assert request == ("reset",)
    assert isinstance(chunk, RawChunk)
    assert (chunk.start_ns, chunk.dropped) == (2 * S, 4)


def test_closing_ends_the_reader_and_returns_what_nobody_serves() -> None:
    buffer = new_buffer()
    buffer.post("question")
    assert buffer.close() == ["question"]
    assert list(buffer) == []
    assert not buffer.post("too late")
    assert not buffer.restart("too late")


actions = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 12 * S)),
        st.just(("read", 0)),
        st.tuples(st.just("expire"), st.integers(0, 30 * S)),
        st.just(("restart", 0)),
    ),
    max_size=120,
)


@given(actions, st.integers(1, 3))
def test_every_sampled_frame_is_handed_out_or_counted_once(
    todo: list[tuple[str, int]], backlog: int
) -> None:
    buffer = new_buffer(FrameConfig(fps=3.0, backlog_chunks=backlog))
    sampled = handed = 0
    for action, ns in todo:
        if action == "put":
            sampled += buffer.put(ns, ns, now_ns=ns) is Verdict.SAMPLED
        elif action == "expire":
            buffer.expire(ns)
        elif action == "restart":
            buffer.restart("reset")
        elif buffer.backlog:
            event = next(e for e in waiting(buffer) if isinstance(e, RawChunk))
            handed += len(event.frames) + event.dropped
        assert buffer.backlog <= backlog
    handed += sum(len(e.frames) + e.dropped for e in waiting(buffer) if isinstance(e, RawChunk))
    assert handed + buffer._sampler.open_frames + buffer._dropped == sampled
