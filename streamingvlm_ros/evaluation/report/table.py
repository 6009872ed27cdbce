"""The table of models: figures, and which of them are the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..result import ORIGINAL

Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A figure of each row. `better` is max or min, None where no value is a merit by itself."""

    title: str
    explained: str
    value: Callable[[Row], float | None]
    better: Callable[[Sequence[float]], float] | None = max
    decimals: int = 1

    def text(self, row: Row) -> str:
        """The figure as it is shown."""
        value = self.value(row)
        return "-" if value is None else f"{value:,.{self.decimals}f}"

    def is_best(self, row: Row, rows: Sequence[Row]) -> bool:
        """Whether it shows the best figure of the models, which are several and not all alike."""
        shown = {self.text(its) for its in rows if _is_seen(its) and self.value(its) is not None}
        known = [value for its in rows if _is_seen(its) and (value := self.value(its)) is not None]
        if not (self.better and _is_seen(row) and len(shown) > 1):
            return False
        best = self.better(known)
        return self.text(row) == f"{best:,.{self.decimals}f}"


def columns(rows: Sequence[Row]) -> dict[str, list[Column]]:
    """The table's columns under their headings; those of which no row has a figure are left out."""
    modes = dict.fromkeys(mode for row in rows for mode in row["questions"])
    wanted = {
        "Narration, %": [_narration(*its) for its in _NARRATION],
        "Events told, %": [_narration(*its) for its in _EVENTS],
        "Right answers, %": [_mode(mode) for mode in modes],
        "Speed": [_speed(*its) for its in _SPEED],
    }
    there = {
        heading: [c for c in its if any(c.value(row) is not None for row in rows)]
        for heading, its in wanted.items()
    }
    return {heading: its for heading, its in there.items() if its}


def slope(row: Row) -> tuple[str, str] | None:
    """Points of ROUGE-L an hour, and their 95 % interval; None if it was too short to tell."""
    trend = row["over time"]
    if not trend or trend["slope"] is None:
        return None
    low, high = _points(trend["low"]), _points(trend["high"])
    return _points(trend["slope"]), f"{low} to {high}"


_NARRATION = (
    ("exact", "exact", "Utterances that are, word by word, what they should be"),
    ("ROUGE-L", "rouge_l", "Words in the same order as in the reference"),
    ("BLEU", "bleu", "Runs of up to four words that the reference has, too"),
    ("coverage", "coverage", "Of the time to speak, how much was spoken in"),
    ("silence", "silence", "Of the time to be silent, how much was kept silent"),
)

_EVENTS = (
    ("recall", "event_recall", "Utterances of the reference that were told within 2 s"),
    ("precision", "event_precision", "Utterances that tell of one in the reference within 2 s"),
)

_SPEED = (
    ("p50, ms", "round_p50_ms", "Half of the rounds took no longer", min, 0),
    ("p95, ms", "round_p95_ms", "95 of 100 rounds took no longer", min, 0),
    (
        "\N{MULTIPLICATION SIGN} real time",
        "times_real_time",
        "Seconds of recording in a second",
        max,
        1,
    ),
    ("MB", "memory_mb", "The most memory that was held: the GPU's, or else the process's", min, 0),
)


def _narration(title: str, name: str, explained: str) -> Column:
    return Column(title, explained, lambda row: _percent((row["narration"] or {}).get(name)))


def _mode(mode: str) -> Column:
    explained = f"Right answers in mode {mode}"
    return Column(mode, explained, lambda row: _percent(row["questions"].get(mode)))


def _speed(
    title: str,
    name: str,
    explained: str,
    better: Callable[[Sequence[float]], float],
    decimals: int,
) -> Column:
    return Column(title, explained, lambda row: (row["speed"] or {}).get(name), better, decimals)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _points(share: float) -> str:
    points = 100 * share
    text = f"{points:+.0f}" if abs(points) >= 10 else f"{points:+.1f}"
    return "0" if not float(text) else text.replace("-", "\N{MINUS SIGN}")


def _is_seen(row: Row) -> bool:
    return bool(row["control"] == ORIGINAL)
