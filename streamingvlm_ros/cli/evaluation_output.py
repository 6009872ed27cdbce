"""Scores of an evaluation in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .console import print_message, print_warning

if TYPE_CHECKING:
    from ..evaluation.results import Judgement, Result
    from ..evaluation.summary import SummaryRow
    from ..evaluation.trend import Trend


_UNLIMITED = 1_000_000
_MIN_LABEL = 12
"""Characters of a model's label in a line, if a terminal is too narrow for the whole."""


def print_scores(
    results: Sequence[Result], rows: Sequence[SummaryRow], *, console: Console
) -> None:
    """Print warnings and judgements to the console, and the table to stdout."""
    for row in rows:
        for item, reason in row.skipped.items():
            print_warning(console, f"skipped {item}", reason=reason)
    for item, part, reason in sorted(_losses(results)):
        print_warning(console, f"{item}, {part}", reason=reason)
    _print_unshortened(_table(rows), labels=[row.model for row in rows])
    for row in rows:
        if row.judged:
            print_message(console, _judgement(row.model, row.judged))


def _losses(results: Sequence[Result]) -> set[tuple[str, str, str]]:
    """Return the item, part and reason of everything unreadable, without repetition."""
    from ..evaluation.results import completed

    return {
        (result.request.item, part, reason)
        for result in completed(results)
        for part, reason in result.losses.items()
    }


def _print_unshortened(table: Table, *, labels: Sequence[str]) -> None:
    """Print a table to stdout. A narrow terminal breaks the labels; no figure is cut off.

    A pipe or a file gets whole lines.
    """
    console = Console(highlight=False)
    whole = console.measure(table, options=console.options.update(max_width=_UNLIMITED)).maximum
    longest = max((Text(label).cell_len for label in labels), default=0)
    narrowest = whole - max(0, longest - _MIN_LABEL)
    console.width = max(console.width, narrowest) if console.is_terminal else whole
    console.print(table)


def _table(rows: Sequence[SummaryRow]) -> Table:
    """Return the main figures; summary.json has all.

    In percent: exact utterances, ROUGE-L, recall of events, right answers by mode. Then median
    round time, memory, and the change of ROUGE-L in an hour with half of its 95 % interval.
    """
    modes = list(dict.fromkeys(mode for row in rows for mode in row.questions))
    table = Table(box=SIMPLE_HEAD, padding=0)
    table.add_column("model", overflow="fold")
    for header in ("exact", "ROUGE-L", "events", *modes, "ms", "MB", "per hour"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        narration, speed = row.narration, row.speed
        scores = [
            narration.exact if narration else None,
            narration.rouge_l if narration else None,
            narration.event_recall if narration else None,
            *(row.questions.get(mode) for mode in modes),
        ]
        table.add_row(
            Text(row.model if row.is_original else f"  {row.control}"),
            *map(_percent, scores),
            _figure(speed.round_p50_ms if speed else None, ".0f"),
            _figure(speed.memory_mb if speed else None, ".0f"),
            _slope(row.over_time),
        )
    return table


def _judgement(model: str, judged: Judgement) -> str:
    share, low, high = (100 * value for value in (judged.share, judged.low, judged.high))
    return (
        f"Judge: {model} against {judged.against}: {judged.wins} won, {judged.ties} tied, "
        f"{judged.losses} lost; {share:.0f} % (95 %: {low:.0f} to {high:.0f})"
    )


def _slope(trend: Trend | None) -> str:
    if trend is None or trend.slope is None or trend.low is None or trend.high is None:
        return "-"
    half = (trend.high - trend.low) / 2
    return f"{100 * trend.slope:+.0f} ± {100 * half:.0f}"


def _percent(share: float | None) -> str:
    return _figure(None if share is None else 100 * share, ".1f")


def _figure(value: float | None, format_spec: str) -> str:
    return "-" if value is None else format(value, format_spec)
