"""Scores over elapsed time: means in bins, and the slope of a line through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DRAWS = 2000
_CONFIDENCE = 0.95
_MIN_BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """The mean of `count` scores from `start_s` on."""

    start_s: float
    mean: float
    count: int


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through scores over time.

    `slope` is the change of the score in an hour; `low` and `high` are its 95 % interval.

    All three are None for fewer than ten bins, which are too few for a line.
    """

    bins: tuple[Bin, ...]
    slope: float | None
    low: float | None
    high: float | None


def trend(times_s: Sequence[float], scores: Sequence[float], *, bin_s: float) -> Trend:
    """Return the trend of scores at these times. The result is deterministic.

    Neighbouring seconds are alike, so the interval comes from a bootstrap over bins (blocks), not
    over single scores.
    """
    times, values = np.asarray(times_s, float), np.asarray(scores, float)
    numbers, bin_of_score = np.unique(times // bin_s, return_inverse=True)
    counts = np.bincount(bin_of_score)
    means = np.bincount(bin_of_score, values) / counts
    bins = tuple(map(Bin, (numbers * bin_s).tolist(), means.tolist(), counts.tolist()))
    if len(bins) < _MIN_BINS:
        return Trend(bins, None, None, None)
    hours = numbers * bin_s / 3600
    draws = np.random.default_rng(0).integers(len(bins), size=(_DRAWS, len(bins)))
    draws = draws[np.ptp(draws, axis=1) > 0]
    slopes = _slopes(hours[draws], means[draws], weights=counts[draws])
    low, high = np.quantile(slopes, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    (slope,) = _slopes(hours[None], means[None], weights=counts[None])
    return Trend(bins, float(slope), float(low), float(high))


def _slopes(
    x: NDArray[np.float64], y: NDArray[np.float64], *, weights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the weighted least-squares slope of each row."""
    total = weights.sum(1, keepdims=True)
    dx = x - (weights * x).sum(1, keepdims=True) / total
    slopes: NDArray[np.float64] = (weights * dx * y).sum(1) / (weights * dx**2).sum(1)
    return slopes
