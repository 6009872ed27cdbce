"""Accuracy, lag and gaps of a demo."""

import pytest

from streamingvlm_ros.cli.demo.scoreboard import Scoreboard
from streamingvlm_ros.types import NS_PER_S


def board(truth: dict[int, str], narration: dict[int, str], *, lag_s: float = 0.2) -> Scoreboard:
    """A scoreboard with both texts, by second."""
    scoreboard = Scoreboard()
    for second, text in truth.items():
        scoreboard.add_truth(second * NS_PER_S, text)
    for second, text in narration.items():
        scoreboard.add_narration(second * NS_PER_S, text, lag_s=lag_s, dropped_frames=0)
    return scoreboard


def test_only_an_equal_text_is_correct() -> None:
    scoreboard = board({1: "a", 2: "b", 3: "c", 4: ""}, {1: "a", 2: "B", 3: "c ", 4: ""})
    assert [second.correct for second in scoreboard.seconds()] == [True, False, False, True]
    assert scoreboard.summary().accuracy == 0.5


def test_a_skipped_second_between_two_narrated_ones_is_wrong() -> None:
    summary = board({1: "a", 2: "b", 3: "c"}, {1: "a", 3: "c"}).summary()
    assert (summary.rounds, summary.accuracy) == (2, pytest.approx(2 / 3))


def test_seconds_before_the_first_and_after_the_last_narration_do_not_count() -> None:
    scoreboard = board({0: "x", 1: "a", 2: "b", 3: "y"}, {1: "a", 2: "b"})
    assert [second.start_ns // NS_PER_S for second in scoreboard.seconds()] == [1, 2]
    assert scoreboard.summary().accuracy == 1.0


def test_a_narration_without_truth_is_wrong_until_the_truth_arrives() -> None:
    scoreboard = board({1: "a"}, {1: "a", 2: "b"})
    assert not scoreboard.complete()
    assert scoreboard.summary().accuracy == 0.5
    scoreboard.add_truth(2 * NS_PER_S, "b")
    assert scoreboard.complete()
    assert scoreboard.summary().accuracy == 1.0


def test_a_narration_with_another_start_matches_no_truth() -> None:
    scoreboard = board({1: "a", 2: "b"}, {1: "a"})
    scoreboard.add_narration(2 * NS_PER_S + 1, "b", lag_s=0.2, dropped_frames=0)
    assert scoreboard.summary().accuracy == pytest.approx(1 / 3)


def test_the_summary_has_lag_percentiles_and_the_sum_of_dropped_frames() -> None:
    scoreboard = Scoreboard()
    for second in range(101):
        scoreboard.add_narration(
            second * NS_PER_S, "a", lag_s=second / 100, dropped_frames=second % 2
        )
    summary = scoreboard.summary()
    assert summary.lag_p50_s == pytest.approx(0.50)
    assert summary.lag_p95_s == pytest.approx(0.95)
    assert summary.dropped_frames == 50


def test_accuracy_is_none_without_any_narration() -> None:
    summary = board({1: "a"}, {}).summary()
    assert (summary.rounds, summary.accuracy, summary.lag_p95_s) == (0, None, None)
