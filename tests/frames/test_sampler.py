"""Which frames make which chunk."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.frames.sampler import RawChunk, Sampler, Verdict

S = 1_000_000_000
TWO_A_SECOND = FrameConfig(fps=2.0, chunk_seconds=1.0)


def chunks_of(stamps_s: list[float], config: FrameConfig = TWO_A_SECOND) -> list[list[float]]:
    sampler: Sampler[None] = Sampler(config)
    done = [chunk for t in stamps_s for chunk in sampler.offer(round(t * S), None)[1]]
    return [[ns / S for ns, _ in chunk.frames] for chunk in done]


def test_the_first_frame_of_every_slot_is_taken() -> None:
    camera_30_hz = [10 + i / 30 for i in range(60)]
    assert chunks_of(camera_30_hz) == [[10.0, 10.5], [11.0, 11.5]]


def test_irregular_stamps_fall_into_their_slots() -> None:
    assert chunks_of([3.02, 3.4, 3.61, 3.9, 4.3, 4.49, 4.77]) == [[3.02, 3.61], [4.3, 4.77]]


def test_a_chunk_is_complete_as_soon_as_its_last_slot_is_filled() -> None:
    sampler: Sampler[str] = Sampler(TWO_A_SECOND)
    assert sampler.offer(7 * S, "a") == (Verdict.SAMPLED, [])
    verdict, done = sampler.offer(7 * S + S // 2, "b")
    assert verdict is Verdict.SAMPLED
    assert done == [RawChunk(((7 * S, "a"), (7 * S + S // 2, "b")), 7 * S, 8 * S)]


def test_a_chunk_without_its_last_frame_is_closed_by_a_later_chunk() -> None:
    assert chunks_of([5.0, 6.1, 6.6]) == [[5.0], [6.1, 6.6]]


def test_one_frame_can_complete_two_chunks() -> None:
    assert chunks_of([5.0, 6.6]) == [[5.0], [6.6]]


def test_a_camera_first_seen_within_a_chunk_begins_with_the_next() -> None:
    assert chunks_of([5.6, 5.9, 6.0, 6.5]) == [[6.0, 6.5]]


def test_after_the_first_chunk_a_missing_first_slot_is_forgiven() -> None:
    assert chunks_of([5.0, 5.5, 6.7]) == [[5.0, 5.5], [6.7]]


def test_a_camera_slower_than_fps_gives_chunks_of_what_there_is() -> None:
    assert chunks_of([0.7, 1.7, 2.7]) == [[1.7], [2.7]]


def test_a_gap_leaves_chunks_out() -> None:
    assert chunks_of([1.0, 1.5, 60.2, 60.5]) == [[1.0, 1.5], [60.2, 60.5]]


def test_an_older_frame_is_late_and_changes_nothing() -> None:
    sampler: Sampler[None] = Sampler(TWO_A_SECOND)
    sampler.offer(5 * S, None)
    assert sampler.offer(5 * S - 1, None) == (Verdict.LATE, [])
    assert not sampler.jumped_back(5 * S - 1)
    assert sampler.jumped_back(4 * S)


def test_frames_of_a_chunk_that_was_closed_are_unused() -> None:
    sampler: Sampler[None] = Sampler(TWO_A_SECOND)
    sampler.offer(5 * S, None)
    assert len(sampler.close()) == 1
    assert sampler.offer(5 * S + S // 2, None) == (Verdict.UNUSED, [])
    assert sampler.offer(6 * S, None)[0] is Verdict.SAMPLED


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
    sampler: Sampler[int] = Sampler(config)
    verdicts, done = [], []
    for i, ns in enumerate(stamps):
        verdict, closed = sampler.offer(ns, i)
        verdicts.append(verdict)
        done += closed
    done += sampler.close()
    taken = [payload for chunk in done for _, payload in chunk.frames]
    assert taken == [i for i, v in enumerate(verdicts) if v is Verdict.SAMPLED]
    for chunk in done:
        assert 1 <= len(chunk.frames) <= round(config.fps * config.chunk_seconds)
        assert all(chunk.start_ns <= ns < chunk.end_ns for ns, _ in chunk.frames)
        assert chunk.start_ns % round(config.chunk_seconds * S) == 0
    assert all(a.end_ns <= b.start_ns for a, b in pairwise(done))


@given(stamps_ns, st.integers(0, 79), configs)
def test_a_replay_from_anywhere_is_cut_alike(
    stamps: list[int], start: int, config: FrameConfig
) -> None:
    def cut(part: list[int]) -> list[RawChunk[None]]:
        sampler: Sampler[None] = Sampler(config)
        return [c for ns in part for c in sampler.offer(ns, None)[1]] + sampler.close()

    whole, rest = cut(stamps), cut(stamps[start % len(stamps) :])
    assert rest[1:] == [chunk for chunk in whole if rest and chunk.start_ns > rest[0].start_ns]
