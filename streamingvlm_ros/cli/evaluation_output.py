"""An evaluation's scores in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..evaluation.result import ORIGINAL, Result


def tell(results: list[Result], rows: list[dict[str, Any]], console: Console) -> None:
    """What was skipped or could not be read, the table, and what the judge said."""
    for row in rows:
        for name, why in row["skipped"].items():
            warn(console, f"skipped {name}", why)
    for (name, what, why), _ in groupby(sorted(_losses(results))):
        warn(console, f"{name}, {what}", why)
    Console(highlight=False).print(_table(rows))
    for row in rows:
        if verdict := row.get("judged"):
            console.print(_verdict(row["model"], verdict), markup=False, soft_wrap=True)


def warn(console: Console, what: str, why: str) -> None:
    """A line about what is not as it should be."""
    console.print(f"[yellow]{escape(what)}:[/] {escape(why)}", soft_wrap=True)


def _losses(results: list[Result]) -> Iterator[tuple[str, str, str]]:
    for result in results:
        for what, why in result.get("losses", {}).items():
            yield result["request"]["item"], what, why


def _table(rows: list[dict[str, Any]]) -> Table:
    """The most important figures; summary.json has all.

    In percent: utterances that are exact, ROUGE-L, events that are told in time, and right answers
    by mode. Milliseconds of a round; memory; and by how many points ROUGE-L changes in an hour,
    with half of its 95 % interval.
    """
    modes = list(dict.fromkeys(mode for row in rows for mode in row["questions"]))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    for head in ("exact", "ROUGE-L", "events", *modes, "ms", "MB"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("an hour", justify="right", no_wrap=True)
    for row in rows:
        told, speed = row["narration"] or {}, row["speed"] or {}
        scores = [told.get("exact"), told.get("rouge_l"), told.get("event_recall")]
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
        f"The judge on {model} against {verdict['against']}: {counts}; {share:.0f} % "
        f"(95 %: {low:.0f} to {high:.0f})"
    )


def _slope(trend: dict[str, Any] | None) -> str:
    if not trend or trend["slope"] is None:
        return "-"
    half = (trend["high"] - trend["low"]) / 2
    return f"{100 * trend['slope']:+.0f} ± {100 * half:.0f}"


def _percent(share: float | None) -> str:
    return _figure(None if share is None else 100 * share, ".1f")


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
