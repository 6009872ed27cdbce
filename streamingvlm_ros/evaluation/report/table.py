"""The table of models: its columns, and the best value of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..summary import NarrationMeans, SpeedMeans, SummaryRow

Choice: TypeAlias = Callable[[Sequence[float]], float]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A figure of each row. `best` is max or min."""

    title: str
    tooltip: str
    value: Callable[[SummaryRow], float | None]
    best: Choice = max
    decimals: int = 1

    def text(self, row: SummaryRow) -> str:
        """Return the figure as the page shows it."""
        value = self.value(row)
        return "-" if value is None else self._format(value)

    def is_best(self, row: SummaryRow, rows: Sequence[SummaryRow]) -> bool:
        """Return True for the best figure of the models, unless all models have the same."""
        values = [v for other in rows if other.is_original and (v := self.value(other)) is not None]
        if not row.is_original or len(set(map(self._format, values))) < 2:
            return False
        return self.text(row) == self._format(self.best(values))

    def _format(self, value: float) -> str:
        return f"{value:,.{self.decimals}f}"


def columns(rows: Sequence[SummaryRow]) -> dict[str, list[Column]]:
    """Return the columns by heading, without those that have no figure in any row."""
    modes = dict.fromkeys(mode for row in rows for mode in row.questions)
    headings = {
        "Narration, %": _NARRATION,
        "Events, %": _EVENTS,
        "Right answers, %": [_mode_column(mode) for mode in modes],
        **{f"Tasks ({mode}), %": _task_columns(rows, mode) for mode in modes},
        "Speed": _SPEED,
    }
    filled = {
        heading: [column for column in each if any(column.value(row) is not None for row in rows)]
        for heading, each in headings.items()
    }
    return {heading: each for heading, each in filled.items() if each}


def slope(row: SummaryRow) -> tuple[str, str] | None:
    """Return the change of ROUGE-L in an hour, in points, and its 95 % interval.

    None if the recordings were too short for one.
    """
    trend = row.over_time
    if trend is None or trend.slope is None or trend.low is None or trend.high is None:
        return None
    return _points(trend.slope), f"{_points(trend.low)} to {_points(trend.high)}"


def _narration_column(
    title: str, score: Callable[[NarrationMeans], float | None], *, tooltip: str
) -> Column:
    def value(row: SummaryRow) -> float | None:
        return _percent(score(row.narration)) if row.narration else None

    return Column(title=title, tooltip=tooltip, value=value)


def _mode_column(mode: str) -> Column:
    return Column(
        title=mode,
        tooltip=f"Right answers in mode {mode}",
        value=lambda row: _percent(row.questions.get(mode)),
    )


def _task_columns(rows: Sequence[SummaryRow], mode: str) -> list[Column]:
    tasks = dict.fromkeys(task for row in rows for task in row.tasks.get(mode, {}))
    return [_task_column(mode, task) for task in tasks]


def _task_column(mode: str, task: str) -> Column:
    return Column(
        title=task or "(no task)",
        tooltip=f"Right answers to questions of task {task or '(none)'} in mode {mode}",
        value=lambda row: _percent(row.tasks.get(mode, {}).get(task)),
    )


def _speed_column(
    title: str,
    figure: Callable[[SpeedMeans], float | None],
    *,
    tooltip: str,
    best: Choice = min,
    decimals: int = 0,
) -> Column:
    def value(row: SummaryRow) -> float | None:
        return figure(row.speed) if row.speed else None

    return Column(title=title, tooltip=tooltip, value=value, best=best, decimals=decimals)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _points(share: float) -> str:
    points = 100 * share
    text = f"{points:+.0f}" if abs(points) >= 10 else f"{points:+.1f}"
    return "0" if not float(text) else text.replace("-", "\N{MINUS SIGN}")


_NARRATION = [
    _narration_column(
        "exact", lambda s: s.exact, tooltip="Utterances that match the reference word for word"
    ),
    _narration_column(
        "ROUGE-L", lambda s: s.rouge_l, tooltip="Words in the same order as in the reference"
    ),
    _narration_column(
        "BLEU",
        lambda s: s.bleu,
        tooltip="Sequences of one to four words that are also in the reference",
    ),
    _narration_column(
        "coverage",
        lambda s: s.coverage,
        tooltip="Share of the time with speech in the reference that was narrated",
    ),
    _narration_column(
        "silence",
        lambda s: s.silence,
        tooltip="Share of the silent time in the reference that stayed silent",
    ),
]

_EVENTS = [
    _narration_column(
        "recall",
        lambda s: s.event_recall,
        tooltip="Reference utterances that were narrated within 2 s",
    ),
    _narration_column(
        "precision",
        lambda s: s.event_precision,
        tooltip="Narrations that match a reference utterance within 2 s",
    ),
]

_SPEED = [
    _speed_column(
        "p50, ms", lambda s: s.round_p50_ms, tooltip="Half of the rounds took at most this long"
    ),
    _speed_column(
        "p95, ms", lambda s: s.round_p95_ms, tooltip="95 % of the rounds took at most this long"
    ),
    _speed_column(
        "\N{MULTIPLICATION SIGN} real time",
        lambda s: s.times_real_time,
        tooltip="Seconds of recording processed in a second",
        best=max,
        decimals=1,
    ),
    _speed_column(
        "MB",
        lambda s: s.memory_mb,
        tooltip="Peak memory of the GPU, or of the process if there is no GPU",
    ),
]
