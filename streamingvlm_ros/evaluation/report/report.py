"""report.html: all of an evaluation on one page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...atomic_write import write_text
from ...time_format import format_clock
from ..result import ORIGINAL, Result
from . import headline, plots, table
from .difference import NEAR
from .shown import Shown, shown, step_for
from .worst import SHOWN, WorstCase, worst_narrations, wrong_answers

PAGE = Path(__file__).parent / "page"
FILE = "report.html"


def write_report(folder: Path, results: Sequence[Result], rows: Sequence[dict[str, Any]]) -> Path:
    """report.html in the folder.

    `results` and `rows` are an evaluation's and its summary's. Pictures are taken from the
    recordings, in one pass over each; one that can't be read has none.
    """
    path = folder / FILE
    write_text(path, _page(results, rows))
    return path


def _page(results: Sequence[Result], rows: Sequence[dict[str, Any]]) -> str:
    done = [result for result in results if "skipped" not in result]
    script = (PAGE / "script.js").read_text()
    return (
        _environment()
        .get_template("report.html")
        .render(
            rows=rows,
            skipped=headline.skipped(results),
            written=datetime.now().astimezone(),
            style=(PAGE / "style.css").read_text(),
            script=script,
            script_hash=base64.b64encode(sha256(script.encode()).digest()).decode(),
            **_figures(done, rows),
            **_moments(done, rows),
        )
    )


def _figures(done: Sequence[Result], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "verdicts": headline.verdicts(rows),
        "differing": headline.differing(done),
        "columns": table.columns(rows),
        "plots": plots.plots(rows, done),
        "bars": plots.bars(rows),
    }


def _moments(done: Sequence[Result], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seen = _by_item([result for result in done if result["request"]["control"] == ORIGINAL])
    worst = _worst(seen, rows)
    return {
        "headline": headline.compared(seen, rows),
        "worst": worst,
        "at_most": SHOWN,
        "recordings": _recordings(seen, worst),
    }


def _environment() -> Environment:
    """Everything is escaped: what models say, and what files are called, is anybody's text."""
    its = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    its.filters["clock"] = format_clock
    its.globals |= {"slope": table.slope, "plot": plots, "near": NEAR}
    return its


def _by_item(results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result["request"]["item"], []).append(result)
    return found


def _worst(
    seen: Mapping[str, Sequence[Result]], rows: Sequence[dict[str, Any]]
) -> dict[str, tuple[list[WorstCase], list[WorstCase]]]:
    """By model: where it told worst, and all its wrong answers."""
    found = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        its = [r for results in seen.values() for r in results if r["request"]["model"] == model]
        found[model] = worst_narrations(its), wrong_answers(its)
    return found


def _recordings(
    seen: Mapping[str, Sequence[Result]],
    worst: Mapping[str, tuple[list[WorstCase], list[WorstCase]]],
) -> dict[str, Shown]:
    step_s = step_for(results[0] for results in seen.values())
    moments = [m for told, wrong in worst.values() for m in (*told, *wrong[:SHOWN])]
    return {
        name: shown(name, number, results, step_s, [m.seen_s for m in moments if m.item == name])
        for number, (name, results) in enumerate(seen.items(), 1)
    }
