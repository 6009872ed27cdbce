"""Plots as numbers in the units of the drawing; the page's template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ...time_format import format_clock
from ..results import ORIGINAL, TrialResult
from ..scoring import BIN_S
from ..summary import SummaryRow
from ..trend import Bin

WIDTH, HEIGHT = 420, 210
"""Size of a drawing; the page scales it."""
LEFT, RIGHT, TOP, BOTTOM = 38, 398, 10, 182
"""Position of the axes."""

_TICK_STEPS_S = (30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_MAX_TICKS = 6

_Key: TypeAlias = tuple[str, str]
"""A model and a control."""


@dataclass(frozen=True, slots=True)
class Line:
    """Scores of a model; `number` is the model's, which selects colour and marker."""

    label: str
    number: int
    is_control: bool
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """Scores over elapsed time. A tick is its position and its label."""

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A model's figure as a length. `whisker` is a second figure, which may be equal."""

    label: str
    number: int
    length: float
    whisker: float
    text: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """One figure of several models."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class _Figure:
    """A model's values for a bar, before they are scaled."""

    row: SummaryRow
    value: float
    whisker: float
    text: str


def plots(rows: Sequence[SummaryRow], results: Sequence[TrialResult]) -> list[Plot]:
    """Return ROUGE-L over time, and right answers over time in each mode."""
    models = _models(rows)
    narration = {_key(row): row.over_time.bins for row in rows if row.over_time}
    drawn = [_plot("ROUGE-L, %", models, bins_by_key=narration)]
    for mode in dict.fromkeys(mode for row in rows for mode in row.questions):
        answers = {_key(row): _answer_bins(row, results, mode=mode) for row in rows}
        drawn.append(_plot(f"Right answers in mode {mode}, %", models, bins_by_key=answers))
    return [plot for plot in drawn if any(line.points for line in plot.lines)]


def bar_charts(rows: Sequence[SummaryRow]) -> list[BarChart]:
    """Return round times and peak memory of the models, without controls."""
    models, times, memory = _models(rows), list[_Figure](), list[_Figure]()
    for row in rows:
        if not row.speed or not row.is_original:
            continue
        p50, p95, mb = row.speed.round_p50_ms, row.speed.round_p95_ms, row.speed.memory_mb
        if p50 is not None and p95 is not None:
            times.append(_Figure(row, p50, p95, f"{p50:,.0f} ms, p95 {p95:,.0f} ms"))
        if mb is not None:
            memory.append(_Figure(row, mb, mb, f"{mb:,.0f} MB"))
    charts = {"Round time: median, with a line to p95": times, "Peak memory": memory}
    return [_bar_chart(title, models, figures=each) for title, each in charts.items() if each]


def _models(rows: Sequence[SummaryRow]) -> list[str]:
    return list(dict.fromkeys(row.model for row in rows))


def _key(row: SummaryRow) -> _Key:
    return row.model, row.control


def _answer_bins(row: SummaryRow, results: Sequence[TrialResult], *, mode: str) -> list[Bin]:
    """Return the bins of all recordings together."""
    by_start: dict[float, list[Bin]] = {}
    for result in results:
        request, scores = result.request, result.question_scores.get(mode)
        if (request.model, request.control) == _key(row) and scores:
            for one in scores.over_time.bins:
                by_start.setdefault(one.start_s, []).append(one)
    return [_merged(by_start[start_s]) for start_s in sorted(by_start)]


def _merged(bins: Sequence[Bin]) -> Bin:
    counts = [one.count for one in bins]
    mean = float(np.average([one.mean for one in bins], weights=counts))
    return Bin(bins[0].start_s, mean, sum(counts))


def _plot(title: str, models: Sequence[str], *, bins_by_key: Mapping[_Key, Sequence[Bin]]) -> Plot:
    ends_s = [one.start_s + BIN_S for bins in bins_by_key.values() for one in bins]
    end_s = max(ends_s, default=BIN_S)
    lines = tuple(
        Line(
            model if control == ORIGINAL else f"{model}, {control}",
            models.index(model),
            control != ORIGINAL,
            tuple(_point(one.start_s + BIN_S / 2, one.mean, end_s=end_s) for one in bins),
        )
        for (model, control), bins in bins_by_key.items()
    )
    return Plot(title, lines, _ticks(end_s))


def _ticks(end_s: float) -> tuple[tuple[float, str], ...]:
    days_s = 86400 * math.ceil(end_s / _MAX_TICKS / 86400)
    step_s = next((step for step in _TICK_STEPS_S if end_s / step <= _MAX_TICKS), days_s)
    return tuple((_x(s, end_s), format_clock(s)) for s in range(0, int(end_s) + 1, step_s))


def _point(time_s: float, share: float, *, end_s: float) -> tuple[float, float]:
    return _x(time_s, end_s), round(BOTTOM - share * (BOTTOM - TOP), 1)


def _x(time_s: float, end_s: float) -> float:
    return round(LEFT + time_s / end_s * (RIGHT - LEFT), 1)


def _bar_chart(title: str, models: Sequence[str], *, figures: Sequence[_Figure]) -> BarChart:
    longest = max(max(figure.value, figure.whisker) for figure in figures) or 1.0
    scale = (WIDTH - 4) / longest
    return BarChart(
        title,
        tuple(
            Bar(
                figure.row.model,
                models.index(figure.row.model),
                round(figure.value * scale, 1),
                round(figure.whisker * scale, 1),
                figure.text,
            )
            for figure in figures
        ),
    )
