"""Scores over elapsed time."""

from __future__ import annotations

import numpy as np
import pytest

from streamingvlm_ros.evaluation.trend import trend

HOUR = np.arange(3600.0)


def test_a_score_that_falls_by_a_tenth_an_hour_is_found_to_do_so() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 3600)
    found = trend(HOUR, 0.9 - 0.1 * HOUR / 3600 + noise, bin_s=60)
    assert len(found.bins) == 60
    assert found.slope == pytest.approx(-0.1, abs=0.01)
    assert found.low is not None
    assert found.high is not None
    assert found.low < -0.1 < found.high < 0


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        scores = random.random(1200) < 0.8
        found = trend(HOUR[:1200], scores, bin_s=30)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0 <= found.high
    assert held >= 88


def test_bins_are_means_and_may_have_gaps() -> None:
    found = trend([1.0, 2.0, 65.0, 200.0], [1.0, 0.0, 1.0, 0.5], bin_s=60)
    assert [(b.start_s, b.mean, b.count) for b in found.bins] == [
        (0.0, 0.5, 2),
        (60.0, 1.0, 1),
        (180.0, 0.5, 1),
    ]


def test_the_same_scores_have_the_same_interval() -> None:
    scores = np.random.default_rng(3).random(3600)
    assert trend(HOUR, scores, 60) == trend(HOUR, scores, 60)


def test_of_a_few_bins_there_is_no_slope() -> None:
    assert trend(HOUR[:540], HOUR[:540], 60).slope is None
    assert trend(HOUR[:600], HOUR[:600], 60).slope is not None
