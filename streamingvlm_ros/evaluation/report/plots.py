"""Plots as numbers: what is where, in the units of the drawing. The page draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...time_format import format_clock
from ..outcome import BIN_S
from ..result import ORIGINAL, Result

WIDTH, HEIGHT = 420, 210
"""Of a drawing; the page scales it."""
LEFT, RIGHT, TOP, BOTTOM = 38, 398, 10, 182
"""Where the axes are."""

_STEPS_S = (30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


@dataclass(frozen=True, slots=True)
class Line:
    """A model's scores; `number` is the model's, which chooses colour and mark."""

    label: str
    number: int
    control: bool
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """Scores over elapsed time; ticks are where they are and what they say."""

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A model's figure as a length, and a further one, `whisker`, or the same again."""

    label: str
    number: int
    length: float
    whisker: float
    text: str


@dataclass(frozen=True, slots=True)
class Bars:
    """Models side by side in one figure."""

    title: str
    bars: tuple[Bar, ...]


Bins = list[dict[str, Any]]


def plots(rows: Sequence[dict[str, Any]], results: Sequence[Result]) -> list[Plot]:
    """ROUGE-L over time, and right answers over time in each mode."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    told = {(r["model"], r["control"]): r["over time"]["bins"] for r in rows if r["over time"]}
    drawn = [_plot("ROUGE-L, %", models, told)]
    for mode in dict.fromkeys(mode for row in rows for mode in row["questions"]):
        found = {key: _answers(key, results, mode) for key in _keys(rows)}
        drawn.append(_plot(f"Right answers in mode {mode}, %", models, found))
    return [plot for plot in drawn if any(line.points for line in plot.lines)]


def bars(rows: Sequence[dict[str, Any]]) -> list[Bars]:
    """Time of a round, and memory, of what was shown as it is."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    seen = [row for row in rows if row["speed"] and row["control"] == ORIGINAL]
    if not seen:
        return []
    labels = [(row["model"], models.index(row["model"])) for row in seen]
    figures = ("round_p50_ms", "round_p95_ms", "memory_mb")
    p50, p95, mb = ([row["speed"][name] for row in seen] for name in figures)
    spans = [f"{half:,.0f} ms, p95 {most:,.0f} ms" for half, most in zip(p50, p95, strict=True)]
    return [
        _bars("Time of a round: median, and a line to p95", labels, p50, p95, spans),
        _bars("Most memory", labels, mb, mb, [f"{its:,.0f} MB" for its in mb]),
    ]


def _keys(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["model"], row["control"]) for row in rows]


def _answers(key: tuple[str, str], results: Sequence[Result], mode: str) -> Bins:
    """The bins of all recordings together."""
    bins = [
        its
        for result in results
        if (result["request"]["model"], result["request"]["control"]) == key
        for its in result["questions"].get(mode, {"over time": {"bins": []}})["over time"]["bins"]
    ]
    return [
        {
            "start_s": start_s,
            "mean": np.average(
                [b["mean"] for b in bins if b["start_s"] == start_s],
                weights=[b["count"] for b in bins if b["start_s"] == start_s],
            ),
        }
        for start_s in sorted({b["start_s"] for b in bins})
    ]


def _plot(title: str, models: Sequence[str], found: dict[tuple[str, str], Bins]) -> Plot:
    ends = [its["start_s"] + BIN_S for bins in found.values() for its in bins]
    end_s = max(ends, default=BIN_S)
    lines = tuple(
        Line(
            model if control == ORIGINAL else f"{model}, {control}",
            models.index(model),
            control != ORIGINAL,
            tuple(_point(its["start_s"] + BIN_S / 2, its["mean"], end_s) for its in bins),
        )
        for (model, control), bins in found.items()
    )
    days_s = 86400 * math.ceil(end_s / 6 / 86400)
    step_s = next((step for step in _STEPS_S if end_s / step <= 6), days_s)
    marks = range(0, int(end_s) + 1, step_s)
    return Plot(title, lines, tuple((_x(time_s, end_s), format_clock(time_s)) for time_s in marks))


def _point(time_s: float, share: float, end_s: float) -> tuple[float, float]:
    return _x(time_s, end_s), round(BOTTOM - share * (BOTTOM - TOP), 1)


def _x(time_s: float, end_s: float) -> float:
    return round(LEFT + time_s / end_s * (RIGHT - LEFT), 1)


def _bars(
    title: str,
    labels: Sequence[tuple[str, int]],
    values: Sequence[float],
    whiskers: Sequence[float],
    texts: Sequence[str],
) -> Bars:
    most = max(*values, *whiskers) or 1.0
    scale = (WIDTH - 4) / most
    drawn = zip(labels, values, whiskers, texts, strict=True)
    return Bars(
        title,
        tuple(
            Bar(label, number, round(value * scale, 1), round(whisker * scale, 1), text)
            for (label, number), value, whisker, text in drawn
        ),
    )
