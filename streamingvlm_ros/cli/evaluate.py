"""`streamingvlm evaluate`: models side by side on recordings with references and questions."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from ..evaluation.evaluation import Evaluation, Unit
    from ..evaluation.items import Item
    from ..evaluation.judge import Judge


_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())


class Mode(str, Enum):
    """What answers may rest on."""

    STREAM = "stream"
    RECENT = "recent"
    HISTORY = "history"


_MODELS, _MODES = ["auto"], [Mode.STREAM]
"""What is taken without options."""


def evaluate(
    recordings: Annotated[
        list[Path],
        typer.Argument(help="Bags, videos, or folders of them.", exists=True, show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for results and report; if they are there already, they are gone on with.",
            file_okay=False,
            show_default=False,
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            help="A model, with settings after spaces: --model 'demo fps=4'. May be repeated."
        ),
    ] = _MODELS,
    reference: Annotated[
        str | None,
        typer.Option(
            help="What should be said: .jsonl, .vtt, .srt or a narration topic. Without it, "
            "RECORDING.jsonl, .vtt or .srt beside the recording.",
            show_default=False,
        ),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            help="Timed questions (.jsonl). Without it, RECORDING.questions.jsonl.",
            exists=True,
            show_default=False,
        ),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(help="The camera, if a bag has several.", show_default=False),
    ] = None,
    mode: Annotated[
        list[Mode], typer.Option(help="How questions are asked. May be repeated.")
    ] = _MODES,
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Also without frames, and with frames of other times."),
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            help="An OpenAI-compatible endpoint, such as http://localhost:8000/v1, whose model "
            "compares each narration with the first model's. Its key: OPENAI_API_KEY.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
    judge_model: Annotated[str, typer.Option(help="The judge's model there.")] = "default",
    judge_prompt: Annotated[
        Path | None,
        typer.Option(
            help="What the judge is asked, instead of our own prompt.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Score what models say of recordings, and what they answer, side by side.

    Can be stopped and begun again, and shared between GPUs and hosts with `torchrun` or
    `accelerate launch`.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from ..evaluation.evaluation import Evaluation
    from ..evaluation.items import find_items
    from ..evaluation.judge import PROMPT, Judge
    from ..evaluation.summary import summarize, write_summary

    items = find_items(recordings, topic, reference, questions)
    evaluation = Evaluation(output, _units(items, model, mode, controls))
    console = Console(stderr=True, highlight=False)
    try:
        _run(evaluation, console)
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on where it was.")
        raise typer.Exit(130) from None
    results = evaluation.results()
    rows = summarize(results)
    if judge:
        _judge(Judge(judge, judge_model, output / "judge", judge_prompt or PROMPT), results, rows)
    write_summary(output, rows)
    _tell(rows, console)
    if len(results) < len(evaluation.units):
        console.print("The process that ends last writes the report.")
    else:
        _report(output, results, rows, console)


def _units(items: list[Item], models: list[str], modes: list[Mode], controls: bool) -> list[Unit]:
    """Model after model, so that each is loaded once."""
    from ..evaluation.contestant import contestant
    from ..evaluation.controls import CONTROLS
    from ..evaluation.evaluation import Unit

    shown = list(CONTROLS) if controls else list(CONTROLS)[:1]
    asked = tuple(mode.value for mode in modes)
    return [
        Unit(item, its, control, asked)
        for its in map(contestant, models)
        for item in items
        for control in shown
    ]


def _run(evaluation: Evaluation, console: Console) -> None:
    from ..engine.model import own_device

    # As torchrun and accelerate tell each of their processes.
    shard, shards = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local = os.environ.get("LOCAL_RANK")
    left = evaluation.left(shard, shards)
    with Progress(*_COLUMNS, console=console) as progress:
        device = "auto" if local is None else own_device(int(local))
        evaluation.run(left, _Bars(progress, len(left)), device)


def _judge(judge: Judge, results: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Add the verdicts to the rows of the models that were judged."""
    from ..evaluation.judging import figures, judge_all

    for model, match in judge_all(judge, results).items():
        row = next(row for row in rows if row["model"] == model and row["control"] == "seen")
        row["judged"] = figures(match, against=rows[0]["model"])


def _tell(rows: list[dict[str, Any]], console: Console) -> None:
    """What was skipped, the table, and what the judge said."""
    for row in rows:
        for name, why in row["skipped"].items():
            console.print(f"[yellow]skipped {name}:[/] {why}", soft_wrap=True)
    Console(highlight=False).print(_table(rows))
    for row in rows:
        if verdict := row.get("judged"):
            console.print(_verdict(row["model"], verdict), markup=False, soft_wrap=True)


def _report(
    output: Path, results: list[dict[str, Any]], rows: list[dict[str, Any]], console: Console
) -> None:
    from ..evaluation.report.report import write_report

    with console.status("Writing the report, with pictures of the recordings"):
        report = write_report(output, results, rows)
    console.print(f"Report: {report}", markup=False, soft_wrap=True)


def _verdict(model: str, verdict: dict[str, Any]) -> str:
    share, low, high = (100 * verdict[name] for name in ("share", "low", "high"))
    counts = "{wins} won, {ties} equal, {losses} lost".format(**verdict)
    return (
        f"The judge on {model} against {verdict['against']}: {counts}; {share:.0f} % "
        f"(95 %: {low:.0f} to {high:.0f})"
    )


class _Bars:
    """One bar for all trials, one for the recording that is being watched."""

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._all = progress.add_task("trials", total=count)
        self._one = progress.add_task("", total=None)

    def began(self, unit: Unit, length_s: float | None) -> None:
        name = f"{unit.item.name}, {unit.contestant.label}, {unit.control}"
        self._progress.reset(self._one, total=length_s, description=name)

    def advanced(self, watched_s: float) -> None:
        self._progress.update(self._one, completed=watched_s)

    def ended(self, unit: Unit) -> None:
        self._progress.advance(self._all)


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
        name = row["model"] if row["control"] == "seen" else f"  {row['control']}"
        table.add_row(
            name,
            *map(_percent, scores),
            _figure(speed.get("round_p50_ms"), ".0f"),
            _figure(speed.get("memory_mb"), ".0f"),
            _slope(row["over time"]),
        )
    return table


def _slope(trend: dict[str, Any] | None) -> str:
    if not trend or trend["slope"] is None:
        return "-"
    half = (trend["high"] - trend["low"]) / 2
    return f"{100 * trend['slope']:+.0f} ± {100 * half:.0f}"


def _percent(share: float | None) -> str:
    return _figure(None if share is None else 100 * share, ".1f")


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
