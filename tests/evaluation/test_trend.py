"""Scores over elapsed time."""

from __future__ import annotations

import numpy as np
import pytest

from streamingvlm_ros.evaluation.trend import trend

HOUR = np.arange(3600.0)


def test_a_falling_score_has_its_slope_inside_the_interval() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 3600)
    result = trend(HOUR, 0.9 - 0.1 * HOUR / 3600 + noise, bin_s=60)
    assert len(result.bins) == 60
    assert result.slope == pytest.approx(-0.1, abs=0.01)
    assert result.low is not None
    assert result.high is not None
    assert result.low < -0.1 < result.high < 0


def test_the_interval_covers_the_truth_as_often_as_promised() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(100):
        scores = random.random(1200) < 0.8
        result = trend(HOUR[:1200], scores, bin_s=30)
        assert result.low is not None
        assert result.high is not None
        covered += result.low <= 0 <= result.high
    assert covered >= 88


def test_bins_are_means_and_may_have_gaps() -> None:
    result = trend([1.0, 2.0, 65.0, 200.0], [1.0, 0.0, 1.0, 0.5], bin_s=60)
    assert [(b.start_s, b.mean, b.count) for b in result.bins] == [
        (0.0, 0.5, 2),
        (60.0, 1.0, 1),
        (180.0, 0.5, 1),
    ]


def test_the_interval_is_deterministic() -> None:
    scores = np.random.default_rng(3).random(3600)
    assert trend(HOUR, scores, bin_s=60) == trend(HOUR, scores, bin_s=60)


def test_fewer_than_ten_bins_have_no_slope() -> None:
    assert trend(HOUR[:540], HOUR[:540], bin_s=60).slope is None
    assert trend(HOUR[:600], HOUR[:600], bin_s=60).slope is not None
