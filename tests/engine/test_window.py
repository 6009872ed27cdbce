"""The ledger and the window: what stays, what moves and what is evicted, over many rounds."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamingvlm_ros.config import WindowConfig
from streamingvlm_ros.engine.ledger import Kind, Ledger, Segment
from streamingvlm_ros.engine.qwen2_5.positions import positions
from streamingvlm_ros.engine.window import evict, token_bound

Token = int
"""Every token has a unique id here, so that it can be tracked."""

MAX_VISION, MAX_TEXT, MAX_SAID = 14, 9, 12


class Feeder:
    """Feeds random rounds through the window, and moves a list of tokens as a cache would."""

    def __init__(self, window: WindowConfig, seed: int) -> None:
        self.window = window
        self.random = random.Random(seed)
        self.tokens = self._numbers()
        self.ledger = Ledger().append(
            [
                self.segment(Kind.SYSTEM, 5),
                self.segment(Kind.PREVIOUS_HEAD, 2),
                self.segment(Kind.PREVIOUS_TEXT, self.random.randint(0, 3)),
                self.segment(Kind.PREVIOUS_END, 2),
            ]
        )
        self.cache: list[Token] = self.ledger.ids
        self.fixed = 9

    def _numbers(self) -> Iterator[Token]:
        number = 0
        while True:
            yield number
            number += 1

    def segment(self, kind: Kind, n: int, *, round: int = -1) -> Segment:
        return Segment(kind, tuple(next(self.tokens) for _ in range(n)), round)

    def feed(self, round: int) -> None:
        eviction = evict(self.ledger, round, window=self.window)
        self.cache = [self.cache[slot] for slot in eviction.slots]
        n = self.random.randint
        rows, columns = n(1, 2), n(1, 3)
        steps = n(1, 2)
        vision = tuple(next(self.tokens) for _ in range(steps * rows * columns + 2))
        self.ledger = eviction.ledger.append(
            [
                self.segment(Kind.USER_HEAD, 2, round=round),
                self.segment(Kind.TIME, n(1, 2), round=round),
                self.segment(Kind.QUESTION, n(0, 1), round=round),
                Segment(Kind.VISION, vision, round, (steps, rows, columns), 0.25),
                self.segment(Kind.INSTRUCTION, n(0, 1), round=round),
                self.segment(Kind.USER_END, 1, round=round),
                self.segment(Kind.ASSISTANT_HEAD, 2, round=round),
                self.segment(Kind.NARRATION, n(0, MAX_SAID - 3), round=round),
                self.segment(Kind.ASSISTANT_END, n(1, 3), round=round),
            ]
        )
        self.cache += self.ledger.ids[len(self.cache) :]


def of_kind(ledger: Ledger, kind: Kind) -> list[Segment]:
    return [segment for segment in ledger if segment.kind is kind]


def tokens_of(ledger: Ledger, kind: Kind, *, round: int = -1) -> list[Token]:
    return [token for s in of_kind(ledger, kind) if s.round == round for token in s.ids]


@pytest.mark.slow
@pytest.mark.parametrize(
    "window",
    [WindowConfig(4, 4, 6, 10), WindowConfig(2, 5, 0, 1), WindowConfig(6, 3, 8, 20)],
    ids=["equal windows", "text longer", "vision longer"],
)
def test_ten_thousand_rounds_stay_within_the_bound_and_keep_the_sink_and_the_newest(
    window: WindowConfig,
) -> None:
    feeder = Feeder(window, seed=window.vision_rounds)
    bound = token_bound(window, feeder.fixed, vision=MAX_VISION, user=MAX_TEXT, assistant=MAX_SAID)
    carried = tokens_of(feeder.ledger, Kind.PREVIOUS_TEXT)
    for round in range(10_000):
        if round >= window.text_rounds:
            old = round - window.text_rounds
            carried += tokens_of(feeder.ledger, Kind.NARRATION, round=old)
        feeder.feed(round)
        ledger = feeder.ledger

        assert len(ledger) == len(feeder.cache) <= bound
        assert ledger.ids == feeder.cache
        newest = [s for s in ledger if s.round == round]
        assert {Kind.VISION, Kind.TIME, Kind.ASSISTANT_END} <= {s.kind for s in newest}
        body = tokens_of(ledger, Kind.PREVIOUS_TEXT)
        assert body[: window.text_sink] == carried[: window.text_sink]
        recent = window.text_window - 1
        assert len(body) == min(len(carried), window.text_sink + recent)
        assert not recent or body[-recent:] == carried[-min(recent, len(carried)) :]
        assert len(of_kind(ledger, Kind.VISION)) == min(round + 1, window.vision_rounds)
        assert_contiguous(ledger, bound)


def assert_contiguous(ledger: Ledger, bound: int) -> None:
    """Check that text advances by one, and every segment starts one above the largest position."""
    places = positions(ledger, tokens_per_second=2.0)
    start, largest = 0, -1.0
    for segment in ledger:
        mine = places[:, start : start + len(segment)]
        assert mine[:, 0].tolist() == [largest + 1.0] * 3
        if segment.grid is None:
            assert mine.diff(dim=1).eq(1.0).all()
        start, largest = start + len(segment), float(mine.max())
    assert start == places.shape[1]
    assert largest < bound


@settings(max_examples=50, deadline=None)
@given(
    vision=st.integers(1, 6), text=st.integers(1, 6), sink=st.integers(0, 8),
    newest=st.integers(1, 12), seed=st.integers(0, 10_000),
)  # fmt: skip
def test_any_window_is_bounded(vision: int, text: int, sink: int, newest: int, seed: int) -> None:
    window = WindowConfig(vision, text, sink, newest)
    feeder = Feeder(window, seed)
    bound = token_bound(window, feeder.fixed, vision=MAX_VISION, user=MAX_TEXT, assistant=MAX_SAID)
    for round in range(40):
        feeder.feed(round)
        assert feeder.ledger.ids == feeder.cache
        assert len(feeder.cache) <= bound


def rounds_with(ledger: Ledger, kind: Kind) -> list[int]:
    return [s.round for s in of_kind(ledger, kind)]


def test_frames_go_before_their_turn_when_the_vision_window_is_the_shorter() -> None:
    feeder = Feeder(WindowConfig(vision_rounds=2, text_rounds=4, text_sink=4, text_window=4), 0)
    for round in range(10):
        feeder.feed(round)
    assert rounds_with(feeder.ledger, Kind.VISION) == [8, 9]
    assert rounds_with(feeder.ledger, Kind.TIME) == [6, 7, 8, 9]
    assert rounds_with(feeder.ledger, Kind.USER_HEAD) == [6, 7, 8, 9]


def test_times_go_before_their_frames_when_the_vision_window_is_the_longer() -> None:
    feeder = Feeder(WindowConfig(vision_rounds=4, text_rounds=2, text_sink=4, text_window=4), 0)
    for round in range(10):
        feeder.feed(round)
    assert rounds_with(feeder.ledger, Kind.VISION) == [6, 7, 8, 9]
    assert rounds_with(feeder.ledger, Kind.USER_HEAD) == [6, 7, 8, 9]
    assert rounds_with(feeder.ledger, Kind.TIME) == [8, 9]
    assert set(rounds_with(feeder.ledger, Kind.ASSISTANT_HEAD)) == {8, 9}


def test_nothing_moves_while_the_windows_have_room() -> None:
    feeder = Feeder(WindowConfig(4, 4, 6, 10), 0)
    for round in range(4):
        eviction = evict(feeder.ledger, round, window=feeder.window)
        assert eviction.first_moved == len(feeder.ledger)
        feeder.feed(round)
    eviction = evict(feeder.ledger, 4, window=feeder.window)
    assert 0 < eviction.first_moved < len(feeder.ledger)
