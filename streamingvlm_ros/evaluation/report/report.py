"""report.html: an evaluation on one page that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...atomic_write import write_text
from ...time_format import format_clock
from ..results import Result, TrialResult, completed
from ..summary import SummaryRow
from . import headline, plots, table
from .recording_view import RecordingView, picture_step_s, view_recording
from .text_diff import NEAR_ROUGE_L
from .worst_cases import MAX_CASES, ModelCases, worst_cases

PAGE = Path(__file__).parent / "page"
FILE = "report.html"


def write_report(folder: Path, results: Sequence[Result], *, rows: Sequence[SummaryRow]) -> Path:
    """Write report.html into the folder and return its path.

    `rows` is the summary of `results`. Pictures are taken from the recordings, in one pass over
    each; a recording that can't be read has none.
    """
    path = folder / FILE
    write_text(path, _page(results, rows))
    return path


def _page(results: Sequence[Result], rows: Sequence[SummaryRow]) -> str:
    done = completed(results)
    originals = _by_item([result for result in done if result.request.is_original])
    cases = _cases_by_model(originals, rows)
    script = (PAGE / "script.js").read_text("utf-8")
    template = _environment().get_template("report.html")
    return template.render(
        rows=rows,
        models=list(dict.fromkeys(row.model for row in rows)),
        judged=[row for row in rows if row.judged],
        overview=headline.overview(originals, rows),
        rankings=headline.rankings(rows),
        skipped=headline.skipped_trials(results),
        differing=headline.differing_settings(done),
        columns=table.columns(rows),
        plots=plots.plots(rows, done),
        bar_charts=plots.bar_charts(rows),
        cases=cases,
        recordings=_view_recordings(originals, cases),
        written=datetime.now().astimezone(),
        style=(PAGE / "style.css").read_text("utf-8"),
        script=script,
        script_hash=base64.b64encode(sha256(script.encode()).digest()).decode(),
    )


def _environment() -> Environment:
    """Return an environment that escapes all texts: models and file names are not trusted."""
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["clock"] = format_clock
    environment.globals |= {
        "slope": table.slope,
        "plot": plots,
        "near_rouge_l": NEAR_ROUGE_L,
        "max_cases": MAX_CASES,
    }
    return environment


def _by_item(results: Sequence[TrialResult]) -> dict[str, list[TrialResult]]:
    by_item: dict[str, list[TrialResult]] = {}
    for result in results:
        by_item.setdefault(result.request.item, []).append(result)
    return by_item


def _cases_by_model(
    by_item: Mapping[str, Sequence[TrialResult]], rows: Sequence[SummaryRow]
) -> dict[str, ModelCases]:
    results = [result for trials in by_item.values() for result in trials]
    models = dict.fromkeys(row.model for row in rows)
    return {
        model: worst_cases([result for result in results if result.request.model == model])
        for model in models
    }


def _view_recordings(
    by_item: Mapping[str, Sequence[TrialResult]], cases: Mapping[str, ModelCases]
) -> dict[str, RecordingView]:
    step_s = picture_step_s(results[0] for results in by_item.values())
    on_page = [case for of_model in cases.values() for case in of_model.on_page]
    return {
        item: view_recording(
            item,
            number,
            results=results,
            step_s=step_s,
            times_s=[case.picture_s for case in on_page if case.item == item],
        )
        for number, (item, results) in enumerate(by_item.items(), 1)
    }
