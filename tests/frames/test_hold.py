"""Pictures that stand still: repeated in the slots in which they are shown."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.frames.hold import Hold, Shown
from streamingvlm_ros.types import NS_PER_S as S


def frames(hold: Hold, stamps_s: list[float], *, end_s: float) -> list[tuple[float, int]]:
    """Return (stamp in s, number of the picture) of all frames of a film."""
    stamps_ns = [round(stamp_s * S) for stamp_s in stamps_s]
    shown = [
        Shown(number, begin_ns, end_ns, replaced=True)
        for number, (begin_ns, end_ns) in enumerate(pairwise(stamps_ns))
    ]
    last = Shown(len(stamps_ns) - 1, stamps_ns[-1], round(end_s * S))
    return [(stamp_ns / S, number) for stamp_ns, number in hold.frames([*shown, last])]


@pytest.mark.parametrize(
    ("stamps_s", "end_s", "repeated"),
    [
        ([0, 0.5, 1, 1.5], 2, []),
        ([0, 2], 2.5, [(0.5, 0), (1, 0), (1.5, 0)]),
        ([0, 2.2], 2.5, [(0.5, 0), (1, 0), (1.5, 0)]),
        ([0.3, 1.9], 2, [(0.5, 0), (1, 0)]),
        ([0], 1.6, [(0.5, 0), (1, 0), (1.5, 0)]),
        ([0], 1.5, [(0.5, 0), (1, 0)]),
        ([-3, 1.2], 1.5, [(0, 0), (0.5, 0)]),
        ([-0.04, 0.02], 0.5, []),
        ([0, 0.421], 0.521, []),
        ([0, 0.421], 0.922, [(0.5, 1)]),
    ],
)
def test_a_picture_is_repeated_until_the_slot_of_the_next_or_the_end(
    stamps_s: list[float], end_s: float, repeated: list[tuple[float, int]]
) -> None:
    own = [(s, number) for number, s in enumerate(stamps_s) if s >= 0]
    assert frames(Hold(FrameConfig()), stamps_s, end_s=end_s) == sorted([*own, *repeated])


@pytest.mark.parametrize(("hold_s", "last_s"), [(0.0, 0.0), (0.4, 0.0), (1.0, 0.5), (3.0, 2.5)])
def test_a_picture_is_repeated_for_the_time_of_the_setting(hold_s: float, last_s: float) -> None:
    hold = Hold(FrameConfig(hold_last_frame=hold_s))
    assert frames(hold, [0, 60], end_s=60.1)[-2:] == [(last_s, 0), (60, 1)]
    assert hold.left_out_ns == round((60 - last_s - 0.5) * S)


def test_time_that_jumps_back_repeats_nothing() -> None:
    assert frames(Hold(FrameConfig()), [5, 0, 0.5], end_s=1) == [(5, 0), (0, 1), (0.5, 2)]


@given(
    st.lists(st.integers(-3000, 30_000), min_size=1, max_size=12, unique=True).map(sorted),
    st.integers(0, 20_000),
    st.sampled_from([1.0, 2.0, 3.0, 7.0]),
)
def test_every_slot_in_which_a_picture_is_shown_has_one(
    stamps_ms: list[int], tail_ms: int, fps: float
) -> None:
    stamps_s = [stamp_ms / 1000 for stamp_ms in stamps_ms]
    hold = Hold(FrameConfig(fps, hold_last_frame=3600))
    seen = frames(hold, stamps_s, end_s=stamps_s[-1] + tail_ms / 1000)
    slots = [round(stamp_s * S) * round(fps) // S for stamp_s, _ in seen]
    assert slots == sorted(slots)
    if slots:
        assert set(slots) == set(range(slots[0], slots[-1] + 1))
    assert all(stamps_s[number] <= stamp_s for stamp_s, number in seen)
