"""Frames of one camera: parts that are handed out, their order, and the counts of drops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.frames.chunk_buffer import GRACE_NS, ChunkBuffer
from streamingvlm_ros.frames.chunker import Chunker, RawChunk, SampleResult
from streamingvlm_ros.frames.image_decoding import BadImageError
from streamingvlm_ros.types import ChunkPart, Frame

S = 1_000_000_000
CONFIG = FrameConfig(fps=2.0, chunk_seconds=1.0, backlog_chunks=2)
FOUR_A_SECOND = FrameConfig(fps=4.0, chunk_seconds=1.0, backlog_chunks=2)
HALF_A_SECOND = S // 2
SMALL, LARGE = np.zeros((4, 6, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)


def new_buffer(config: FrameConfig = CONFIG) -> ChunkBuffer:
    return ChunkBuffer(config, recent_frames=4)


def put(buffer: ChunkBuffer, ns: int, *, now_ns: int = 1) -> SampleResult:
    return buffer.put(Frame(SMALL, ns), now_ns=now_ns)


def fill(buffer: ChunkBuffer, seconds: range, *, fps: int = 2) -> None:
    for ns in range(seconds.start * S, seconds.stop * S, S // fps):
        put(buffer, ns, now_ns=ns)


def parts_of(buffer: ChunkBuffer) -> Iterator[ChunkPart]:
    """Return all parts that are handed out now."""
    while buffer.has_part:
        part = buffer.next_part()
        assert part
        yield part
    assert buffer.next_part() is None


def stamps_of(part: ChunkPart) -> list[float]:
    return [frame.stamp_ns / S for frame in part.frames]


def newest_of(buffer: ChunkBuffer) -> list[int]:
    return [frame.stamp_ns for frame in buffer.newest]


def test_chunks_come_out_in_order() -> None:
    buffer = new_buffer()
    fill(buffer, range(10, 12))
    assert [part.start_ns for part in parts_of(buffer)] == [10 * S, 11 * S]


def test_a_slow_reader_gets_the_newest_chunks_and_the_number_of_lost_frames() -> None:
    buffer = new_buffer()
    fill(buffer, range(0, 10))
    got = [(part.start_ns // S, part.last, part.dropped) for part in parts_of(buffer)]
    assert got == [(8, True, 16), (9, True, 0)]


def test_a_complete_chunk_is_one_part() -> None:
    buffer = new_buffer(FOUR_A_SECOND)
    fill(buffer, range(3, 4), fps=4)
    (part,) = parts_of(buffer)
    assert stamps_of(part) == [3.0, 3.25, 3.5, 3.75]
    assert part.last


def test_an_open_chunk_is_handed_out_pair_by_pair_as_its_frames_arrive() -> None:
    buffer = new_buffer(FrameConfig(fps=5.0))
    handed_out = []
    for i in range(5):
        put(buffer, 3 * S + i * S // 5)
        handed_out.append([(stamps_of(part), part.last) for part in parts_of(buffer)])
    assert handed_out == [
        [],
        [([3.0, 3.2], False)],
        [],
        [([3.4, 3.6], False)],
        [([3.8], True)],
    ]


def test_all_available_pairs_are_one_part() -> None:
    buffer = new_buffer(FrameConfig(fps=8.0))
    for i in range(5):
        put(buffer, 3 * S + i * S // 8)
    (part,) = parts_of(buffer)
    assert (len(part.frames), part.last) == (4, False)


def test_the_parts_may_be_larger_than_pairs() -> None:
    buffer = ChunkBuffer(FrameConfig(fps=8.0), part_frames=4)
    counts = []
    for i in range(8):
        put(buffer, 3 * S + i * S // 8)
        counts += [len(part.frames) for part in parts_of(buffer)]
    assert counts == [4, 4]


def test_a_chunk_does_not_begin_before_an_older_one_is_handed_out() -> None:
    buffer = new_buffer(FOUR_A_SECOND)
    fill(buffer, range(3, 4), fps=4)
    put(buffer, 4 * S)
    put(buffer, 4 * S + S // 4)
    assert [(stamps_of(part), part.last) for part in parts_of(buffer)] == [
        ([3.0, 3.25, 3.5, 3.75], True),
        ([4.0, 4.25], False),
    ]


def test_a_chunk_that_has_begun_is_never_dropped_and_its_rest_comes_first() -> None:
    buffer = new_buffer(FOUR_A_SECOND)
    put(buffer, 3 * S)
    put(buffer, 3 * S + S // 4)
    (beginning,) = parts_of(buffer)
    put(buffer, 3 * S + S // 2)
    put(buffer, 3 * S + 3 * S // 4)
    fill(buffer, range(4, 10), fps=4)
    assert buffer.backlog == 2
    rest, *others = parts_of(buffer)
    assert (beginning.start_ns, rest.start_ns) == (3 * S, 3 * S)
    assert (stamps_of(rest), rest.last, rest.dropped) == ([3.5, 3.75], True, 0)
    assert [(part.start_ns // S, part.dropped) for part in others] == [(8, 16), (9, 0)]


def test_the_newest_chunk_replaces_an_older_one_also_behind_one_that_has_begun() -> None:
    buffer = new_buffer(FrameConfig(fps=4.0, backlog_chunks=1))
    put(buffer, 3 * S)
    put(buffer, 3 * S + S // 4)
    list(parts_of(buffer))
    fill(buffer, range(4, 7), fps=4)
    assert [(part.start_ns // S, part.dropped) for part in parts_of(buffer)] == [(3, 0), (6, 8)]


def test_drops_are_reported_once_with_the_first_part() -> None:
    buffer = new_buffer(FrameConfig(fps=4.0, backlog_chunks=1))
    fill(buffer, range(3, 5), fps=4)
    assert [part.dropped for part in parts_of(buffer)] == [4]
    put(buffer, 5 * S)
    put(buffer, 5 * S + S // 4)
    buffer.restart()
    put(buffer, 6 * S)
    put(buffer, 6 * S + S // 4)
    assert [part.dropped for part in parts_of(buffer)] == [2]
    put(buffer, 6 * S + S // 2)
    put(buffer, 6 * S + 3 * S // 4)
    assert [part.dropped for part in parts_of(buffer)] == [0]


def test_the_newest_frames_are_kept_and_no_more_of_them() -> None:
    buffer = new_buffer()
    assert newest_of(buffer) == []
    fill(buffer, range(10, 20))
    put(buffer, 20 * S)
    put(buffer, 20 * S + 1)  # not sampled: its slot is taken
    stamps = [18 * S + HALF_A_SECOND, 19 * S, 19 * S + HALF_A_SECOND, 20 * S]
    assert newest_of(buffer) == stamps
    list(parts_of(buffer))
    assert len(buffer.newest) == 4


def test_the_newest_frames_have_one_size() -> None:
    buffer = new_buffer()
    fill(buffer, range(10, 11))
    buffer.put(Frame(LARGE, 11 * S), now_ns=1)
    assert newest_of(buffer) == [11 * S]


def test_frames_from_before_a_restart_are_not_among_the_newest() -> None:
    buffer = new_buffer()
    fill(buffer, range(10, 12))
    buffer.restart()
    assert newest_of(buffer) == []
    put(buffer, 3 * S)
    assert newest_of(buffer) == [3 * S]


def test_a_chunk_is_closed_some_time_after_its_camera_stops() -> None:
    buffer = new_buffer()
    put(buffer, 3 * S, now_ns=100 * S)
    buffer.expire(101 * S + GRACE_NS - 1)
    assert not buffer.has_part
    buffer.expire(101 * S + GRACE_NS)
    (part,) = parts_of(buffer)
    assert (part.start_ns, part.end_ns, stamps_of(part), part.last) == (3 * S, 4 * S, [3.0], True)


@pytest.mark.parametrize("frames_after", [0, 1])
def test_a_chunk_that_has_begun_ends_when_its_camera_stops(frames_after: int) -> None:
    buffer = new_buffer(FOUR_A_SECOND)
    for i in range(2 + frames_after):
        put(buffer, 3 * S + i * S // 4, now_ns=100 * S)
    (beginning,) = parts_of(buffer)
    assert (len(beginning.frames), beginning.last) == (2, False)
    buffer.expire(102 * S)
    (rest,) = parts_of(buffer)
    assert (rest.start_ns, len(rest.frames), rest.last) == (3 * S, frames_after, True)
    assert buffer.backlog == 0


def test_a_frame_of_the_next_chunk_ends_one_that_has_begun() -> None:
    buffer = new_buffer(FOUR_A_SECOND)
    put(buffer, 3 * S)
    put(buffer, 3 * S + S // 4)
    list(parts_of(buffer))
    put(buffer, 4 * S)
    (rest,) = parts_of(buffer)
    assert (rest.start_ns, rest.frames, rest.last) == (3 * S, (), True)


def test_a_chunk_expires_once() -> None:
    buffer = new_buffer()
    put(buffer, 3 * S)
    buffer.expire(100 * S)
    buffer.expire(200 * S)
    assert buffer.backlog == 1


def test_the_timeout_of_a_chunk_from_before_the_clock_starts_with_the_clock() -> None:
    buffer = new_buffer()
    begin_ns = 1_700_000_000 * S
    put(buffer, begin_ns, now_ns=0)
    buffer.expire(0)
    buffer.expire(begin_ns)
    buffer.expire(begin_ns + S + GRACE_NS - 1)
    assert buffer.backlog == 0
    buffer.expire(begin_ns + S + GRACE_NS)
    assert buffer.backlog == 1


def test_a_stamp_less_than_a_chunk_back_is_only_late() -> None:
    buffer = new_buffer()
    put(buffer, 5 * S)
    assert buffer.wants(5 * S - 1) is SampleResult.LATE
    assert not buffer.jumped_back(5 * S - 1)
    assert buffer.jumped_back(4 * S)
    assert put(buffer, 5 * S - 1) is SampleResult.LATE
    assert put(buffer, 5 * S + HALF_A_SECOND) is SampleResult.SAMPLED
    (part,) = parts_of(buffer)
    assert len(part.frames) == 2


def test_a_restart_drops_earlier_frames() -> None:
    buffer = new_buffer()
    fill(buffer, range(0, 2))
    put(buffer, 2 * S)
    buffer.restart()
    fill(buffer, range(1, 2))
    (part,) = parts_of(buffer)
    assert (part.start_ns, part.dropped) == (S, 5)


def test_a_restart_drops_the_rest_of_a_chunk_that_has_begun() -> None:
    buffer = new_buffer(FOUR_A_SECOND)
    for i in range(3):
        put(buffer, 3 * S + i * S // 4)
    list(parts_of(buffer))
    buffer.restart()
    fill(buffer, range(4, 5), fps=4)
    assert [(part.start_ns, part.dropped) for part in parts_of(buffer)] == [(4 * S, 1)]


@pytest.mark.parametrize("complete", [True, False])
def test_the_rest_of_a_chunk_whose_beginning_was_lost_is_dropped(complete: bool) -> None:
    buffer = new_buffer(FOUR_A_SECOND)
    put(buffer, 3 * S)
    put(buffer, 3 * S + S // 4)
    list(parts_of(buffer))
    put(buffer, 3 * S + S // 2)
    if complete:
        fill(buffer, range(4, 5), fps=4)
    buffer.drop_started()
    buffer.drop_started()
    assert buffer.wants(3 * S + 3 * S // 4) is not SampleResult.SAMPLED
    if not complete:
        fill(buffer, range(4, 5), fps=4)
    assert [(part.start_ns, part.dropped) for part in parts_of(buffer)] == [(4 * S, 1)]


def test_a_frame_of_another_size_than_its_chunk_is_refused_and_changes_nothing() -> None:
    buffer = new_buffer()
    put(buffer, 3 * S)
    with pytest.raises(BadImageError, match="6x4 px to 6x8") as caught:
        buffer.put(Frame(LARGE, 3 * S + HALF_A_SECOND), now_ns=1)
    assert caught.value.reason == "changed"
    assert not buffer.has_part
    assert buffer.wants(3 * S + HALF_A_SECOND) is SampleResult.SAMPLED


def test_a_chunk_does_not_wait_for_a_frame_that_is_skipped() -> None:
    buffer = new_buffer()
    put(buffer, 3 * S)
    buffer.skip(3 * S + HALF_A_SECOND, now_ns=1)
    (part,) = parts_of(buffer)
    assert (stamps_of(part), part.last) == ([3.0], True)


def test_the_next_chunk_may_have_another_size() -> None:
    buffer = new_buffer()
    put(buffer, 3 * S)
    for half in range(2):
        buffer.put(Frame(LARGE, 4 * S + half * HALF_A_SECOND), now_ns=1)
    assert [part.frames[0].image.shape[0] for part in parts_of(buffer)] == [4, 8]


def test_a_chunk_without_a_usable_frame_is_left_out() -> None:
    buffer = new_buffer()
    for half in range(2):
        buffer.skip(3 * S + half * HALF_A_SECOND, now_ns=1)
    buffer.expire(100 * S)
    assert not buffer.has_part
    fill(buffer, range(4, 5))
    assert [part.start_ns for part in parts_of(buffer)] == [4 * S]


configs = st.builds(
    FrameConfig,
    fps=st.sampled_from([1.0, 3.0, 4.0, 8.0]),
    backlog_chunks=st.integers(1, 3),
)
stamps_ns = st.lists(st.integers(0, 12 * S), max_size=120).map(sorted)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 12 * S)),
        st.tuples(st.just("skip"), st.integers(0, 12 * S)),
        st.just(("read", 0)),
        st.tuples(st.just("expire"), st.integers(0, 30 * S)),
        st.just(("restart", 0)),
        st.just(("drop_started", 0)),
    ),
    max_size=120,
)


@given(actions, configs, st.integers(1, 3))
def test_every_sampled_frame_is_handed_out_or_counted_once(
    todo: list[tuple[str, int]], config: FrameConfig, part_frames: int
) -> None:
    buffer = ChunkBuffer(config, part_frames=part_frames)
    sampled = 0
    parts: list[ChunkPart] = []
    for action, ns in todo:
        match action:
            case "put":
                if buffer.jumped_back(ns):
                    buffer.restart()
                sampled += put(buffer, ns, now_ns=ns) is SampleResult.SAMPLED
            case "skip":
                buffer.skip(ns, now_ns=ns)
            case "expire":
                buffer.expire(ns)
            case "restart":
                buffer.restart()
            case "drop_started":
                buffer.drop_started()
            case _:
                parts += [part] if (part := buffer.next_part()) else []
        assert buffer.backlog <= config.backlog_chunks
    buffer.expire(100 * S)
    buffer.expire(200 * S)
    parts += parts_of(buffer)
    assert sum(len(part.frames) + part.dropped for part in parts) + buffer._dropped == sampled


@given(stamps_ns, configs, st.integers(1, 3), st.data())
def test_chunks_are_the_same_whole_and_in_parts(
    stamps: list[int], config: FrameConfig, part_frames: int, data: st.DataObject
) -> None:
    chunker: Chunker[None] = Chunker(config)
    whole: list[RawChunk[None]] = [c for ns in stamps for c in chunker.offer(ns, None)[1]]
    whole += chunker.close()

    # One frame completes two chunks at most, and the reader takes them at once: none is dropped.
    buffer = ChunkBuffer(replace(config, backlog_chunks=2), part_frames=part_frames)
    parts: list[ChunkPart] = []
    for ns in stamps:
        put(buffer, ns)
        while buffer.backlog or (buffer.has_part and data.draw(st.booleans())):
            parts += [part] if (part := buffer.next_part()) else []
    buffer.expire(100 * S)
    parts += parts_of(buffer)

    together: dict[int, list[int]] = {}
    for part in parts:
        together.setdefault(part.start_ns, []).extend(frame.stamp_ns for frame in part.frames)
        assert part.last or (part.frames and len(part.frames) % part_frames == 0)
    for part, following in pairwise(parts):
        assert part.last == (following.start_ns > part.start_ns)
    assert all(part.last for part in parts[-1:])
    assert together == {c.start_ns: [ns for ns, _ in c.frames] for c in whole}
