"""Does it get worse with time? Scores in bins of elapsed time, and a line through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DRAWS = 2000
_LEVEL = 0.95
_LEAST = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """The mean of `count` scores from `start_s` on."""

    start_s: float
    mean: float
    count: int


@dataclass(frozen=True, slots=True)
class Trend:
    """`slope` is the change of the score per hour; `low` and `high` are its 95 % interval.

    All three are None where there are fewer than ten bins: a few say nothing of an hour.
    """

    bins: tuple[Bin, ...]
    slope: float | None
    low: float | None
    high: float | None


def trend(times_s: Sequence[float], scores: Sequence[float], bin_s: float) -> Trend:
    """The trend of scores at these times.

    Neighbouring seconds are alike, so whole bins are drawn for the interval (block bootstrap), not
    single scores; the draws are the same every time.
    """
    times, values = np.asarray(times_s, float), np.asarray(scores, float)
    numbers, where = np.unique(times // bin_s, return_inverse=True)
    counts = np.bincount(where)
    means = np.bincount(where, values) / counts
    bins = tuple(map(Bin, (numbers * bin_s).tolist(), means.tolist(), counts.tolist()))
    if len(bins) < _LEAST:
        return Trend(bins, None, None, None)
    hours = numbers * bin_s / 3600
    draws = np.random.default_rng(0).integers(len(bins), size=(_DRAWS, len(bins)))
    draws = draws[np.ptp(draws, axis=1) > 0]
    slopes = _slopes(hours[draws], means[draws], counts[draws])
    low, high = np.quantile(slopes, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    (slope,) = _slopes(hours[None], means[None], counts[None])
    return Trend(bins, float(slope), float(low), float(high))


def _slopes(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Least squares for each row, a point as often as it has scores."""
    whole = weights.sum(1, keepdims=True)
    dx = x - (weights * x).sum(1, keepdims=True) / whole
    slopes: NDArray[np.float64] = (weights * dx * y).sum(1) / (weights * dx**2).sum(1)
    return slopes
