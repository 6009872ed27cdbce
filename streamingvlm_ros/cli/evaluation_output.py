"""Scores of an evaluation in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..evaluation.result import ORIGINAL, Result
from .console import print_message, print_warning


def print_scores(results: list[Result], rows: list[dict[str, Any]], *, console: Console) -> None:
    """Print what was skipped or unreadable, the table of scores, and the judge's verdicts."""
    for row in rows:
        for name, reason in row["skipped"].items():
            print_warning(console, f"skipped {name}", reason)
    for (name, file, reason), _ in groupby(sorted(_losses(results))):
        print_warning(console, f"{name}, {file}", reason)
    Console(highlight=False).print(_table(rows))
    for row in rows:
        if verdict := row.get("judged"):
            print_message(console, _verdict(row["model"], verdict))


def _losses(results: list[Result]) -> Iterator[tuple[str, str, str]]:
    """Yield (recording, file, reason) for everything that could not be read."""
    for result in results:
        for file, reason in result.get("losses", {}).items():
            yield result["request"]["item"], file, reason


def _table(rows: list[dict[str, Any]]) -> Table:
    """Return the most important figures; summary.json has all of them.

    In percent: exact utterances, ROUGE-L, events narrated in time, and correct answers by mode.
    Then the time of a round, memory, and the change of ROUGE-L in points per hour with half of its
    95 % interval.
    """
    modes = list(dict.fromkeys(mode for row in rows for mode in row["questions"]))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    for header in ("exact", "ROUGE-L", "events", *modes, "ms", "MB"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("per hour", justify="right", no_wrap=True)
    for row in rows:
        narration, speed = row["narration"] or {}, row["speed"] or {}
        scores = [narration.get(name) for name in ("exact", "rouge_l", "event_recall")]
        scores += [row["questions"].get(mode) for mode in modes]
        name = row["model"] if row["control"] == ORIGINAL else f"  {row['control']}"
        table.add_row(
            name,
            *map(_percent, scores),
            _figure(speed.get("round_p50_ms"), ".0f"),
            _figure(speed.get("memory_mb"), ".0f"),
            _slope(row["over time"]),
        )
    return table


def _verdict(model: str, verdict: dict[str, Any]) -> str:
    share, low, high = (100 * verdict[name] for name in ("share", "low", "high"))
    counts = "{wins} won, {ties} equal, {losses} lost".format(**verdict)
    return (
        f"Judge: {model} against {verdict['against']}: {counts}; {share:.0f} % "
        f"(95 %: {low:.0f} to {high:.0f})"
    )


def _slope(trend: dict[str, Any] | None) -> str:
    if not trend or trend["slope"] is None:
        return "-"
    half = (trend["high"] - trend["low"]) / 2
    return f"{100 * trend['slope']:+.0f} ± {100 * half:.0f}"


def _percent(share: float | None) -> str:
    return _figure(None if share is None else 100 * share, ".1f")


def _figure(value: float | None, format_spec: str) -> str:
    return "-" if value is None else format(value, format_spec)
