"""Assignment of frames to chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.frames.chunker import Chunker, RawChunk, SampleResult

S = 1_000_000_000
TWO_A_SECOND = FrameConfig(fps=2.0, chunk_seconds=1.0)


def chunks_of(stamps_s: list[float], config: FrameConfig = TWO_A_SECOND) -> list[list[float]]:
    chunker: Chunker[None] = Chunker(config)
    done = [chunk for t in stamps_s for chunk in chunker.offer(round(t * S), None)[1]]
    return [[ns / S for ns, _ in chunk.frames] for chunk in done]


def test_the_first_frame_of_every_slot_is_taken() -> None:
    camera_30_hz = [10 + i / 30 for i in range(60)]
    assert chunks_of(camera_30_hz) == [[10.0, 10.5], [11.0, 11.5]]


def test_irregular_stamps_fall_into_their_slots() -> None:
    assert chunks_of([3.02, 3.4, 3.61, 3.9, 4.3, 4.49, 4.77]) == [[3.02, 3.61], [4.3, 4.77]]


def test_a_chunk_is_complete_as_soon_as_its_last_slot_is_filled() -> None:
    chunker: Chunker[str] = Chunker(TWO_A_SECOND)
    assert chunker.offer(7 * S, "a") == (SampleResult.SAMPLED, [])
    result, done = chunker.offer(7 * S + S // 2, "b")
    assert result is SampleResult.SAMPLED
    assert done == [RawChunk(((7 * S, "a"), (7 * S + S // 2, "b")), 7 * S, 8 * S)]


def test_a_chunk_without_its_last_frame_is_closed_by_a_later_chunk() -> None:
    assert chunks_of([5.0, 6.1, 6.6]) == [[5.0], [6.1, 6.6]]


def test_one_frame_can_complete_two_chunks() -> None:
    assert chunks_of([5.0, 6.6]) == [[5.0], [6.6]]


def test_a_camera_first_seen_within_a_chunk_begins_with_the_next() -> None:
    assert chunks_of([5.6, 5.9, 6.0, 6.5]) == [[6.0, 6.5]]


def test_after_the_first_chunk_the_first_slot_may_be_missing() -> None:
    assert chunks_of([5.0, 5.5, 6.7]) == [[5.0, 5.5], [6.7]]


def test_a_camera_slower_than_fps_gives_smaller_chunks() -> None:
    assert chunks_of([0.7, 1.7, 2.7]) == [[1.7], [2.7]]


def test_a_gap_leaves_chunks_out() -> None:
    assert chunks_of([1.0, 1.5, 60.2, 60.5]) == [[1.0, 1.5], [60.2, 60.5]]


def test_an_older_frame_is_late_and_changes_nothing() -> None:
    chunker: Chunker[None] = Chunker(TWO_A_SECOND)
    chunker.offer(5 * S, None)
    assert chunker.offer(5 * S - 1, None) == (SampleResult.LATE, [])
    assert not chunker.jumped_back(5 * S - 1)
    assert chunker.jumped_back(4 * S)


def test_frames_of_a_chunk_that_was_closed_are_unused() -> None:
    chunker: Chunker[None] = Chunker(TWO_A_SECOND)
    chunker.offer(5 * S, None)
    assert len(chunker.close()) == 1
    assert chunker.offer(5 * S + S // 2, None) == (SampleResult.UNUSED, [])
    assert chunker.offer(6 * S, None)[0] is SampleResult.SAMPLED


def test_the_use_of_a_frame_is_known_before_it_is_offered() -> None:
    chunker: Chunker[None] = Chunker(TWO_A_SECOND)
    assert chunker.wants(4 * S + 1) is SampleResult.SAMPLED
    assert chunker.wants(4 * S + 1) is SampleResult.SAMPLED
    assert chunker.open_chunk is None
    chunker.offer(4 * S + 1, None)
    assert chunker.wants(4 * S + 3) is SampleResult.UNUSED
    assert chunker.wants(4 * S + 2) is SampleResult.LATE


def test_a_frame_that_is_skipped_takes_its_slot_and_completes_its_chunk() -> None:
    chunker: Chunker[str] = Chunker(TWO_A_SECOND)
    chunker.offer(7 * S, "a")
    assert chunker.open_chunk == RawChunk(((7 * S, "a"),), 7 * S, 8 * S)
    result, done = chunker.skip(7 * S + S // 2)
    assert result is SampleResult.SAMPLED
    assert done == [RawChunk(((7 * S, "a"),), 7 * S, 8 * S)]
    assert chunker.wants(7 * S + S // 2 + 1) is SampleResult.UNUSED


def test_a_chunk_of_skipped_frames_is_left_out() -> None:
    chunker: Chunker[str] = Chunker(TWO_A_SECOND)
    assert chunker.skip(7 * S) == (SampleResult.SAMPLED, [])
    assert chunker.skip(7 * S + S // 2) == (SampleResult.SAMPLED, [])
    assert chunker.open_chunk is None
    assert chunker.close() == []
    assert chunker.offer(8 * S, "b") == (SampleResult.SAMPLED, [])


@pytest.mark.parametrize(
    ("fps", "seconds", "frames"), [(30, 1, 30), (1, 1, 1), (3, 0.5, 2), (8, 2, 16)]
)
def test_a_chunk_holds_fps_times_seconds_frames(fps: float, seconds: float, frames: int) -> None:
    stamps = [i / 120 for i in range(120 * 6)]
    cut = chunks_of(stamps, FrameConfig(fps=fps, chunk_seconds=seconds))
    assert {len(chunk) for chunk in cut} == {frames}


stamps_ns = st.lists(st.integers(0, 20 * S), min_size=1, max_size=80).map(sorted)
configs = st.sampled_from(
    [TWO_A_SECOND, FrameConfig(fps=1), FrameConfig(fps=7.5, chunk_seconds=0.4), FrameConfig(fps=30)]
)


@given(stamps_ns, configs)
def test_any_stamps_give_ordered_bounded_chunks_that_lose_nothing(
    stamps: list[int], config: FrameConfig
) -> None:
    chunker: Chunker[int] = Chunker(config)
    results, done = [], []
    for i, ns in enumerate(stamps):
        result, closed = chunker.offer(ns, i)
        results.append(result)
        done += closed
    done += chunker.close()
    taken = [payload for chunk in done for _, payload in chunk.frames]
    assert taken == [i for i, v in enumerate(results) if v is SampleResult.SAMPLED]
    for chunk in done:
        assert 1 <= len(chunk.frames) <= round(config.fps * config.chunk_seconds)
        assert all(chunk.start_ns <= ns < chunk.end_ns for ns, _ in chunk.frames)
        assert chunk.start_ns % round(config.chunk_seconds * S) == 0
    assert all(a.end_ns <= b.start_ns for a, b in pairwise(done))


@given(stamps_ns, configs, st.data())
def test_skipped_frames_do_not_move_the_others(
    stamps: list[int], config: FrameConfig, data: st.DataObject
) -> None:
    unusable = data.draw(st.sets(st.sampled_from(stamps)))

    def cut(usable: Callable[[int], bool]) -> Iterator[RawChunk[None]]:
        chunker: Chunker[None] = Chunker(config)
        for ns in stamps:
            yield from (chunker.offer(ns, None) if usable(ns) else chunker.skip(ns))[1]
        yield from chunker.close()

    left = [
        (chunk.start_ns, frames)
        for chunk in cut(lambda ns: True)
        if (frames := [ns for ns, _ in chunk.frames if ns not in unusable])
    ]
    without = cut(lambda ns: ns not in unusable)
    assert [(chunk.start_ns, [ns for ns, _ in chunk.frames]) for chunk in without] == left


@given(stamps_ns, st.integers(0, 79), configs)
def test_a_replay_from_anywhere_gives_the_same_chunks(
    stamps: list[int], start: int, config: FrameConfig
) -> None:
    def cut(part: list[int]) -> list[RawChunk[None]]:
        chunker: Chunker[None] = Chunker(config)
        return [c for ns in part for c in chunker.offer(ns, None)[1]] + chunker.close()

    whole, rest = cut(stamps), cut(stamps[start % len(stamps) :])
    assert rest[1:] == [chunk for chunk in whole if rest and chunk.start_ns > rest[0].start_ns]
