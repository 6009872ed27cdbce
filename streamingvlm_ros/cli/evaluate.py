"""`streamingvlm evaluate`: models side by side on recordings with references and questions."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import EvaluationError
from ..evaluation.result import ORIGINAL
from ..rank import Rank, process_rank
from ..time_format import clamp
from .connection import parse_text
from .evaluation_output import tell
from .options import Recordings

if TYPE_CHECKING:
    from ..evaluation.evaluation import Evaluation, Trial
    from ..evaluation.items import Item
    from ..evaluation.judge import Judge
    from ..evaluation.result import Result


_STOPPED = "Stopped. The same command goes on where it was."
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())


class Mode(str, Enum):
    """What answers may rest on."""

    STREAM = "stream"
    RECENT = "recent"
    HISTORY = "history"


_MODELS, _MODES = ["auto"], [Mode.STREAM]
"""What is taken without options."""


def evaluate(
    recordings: Recordings,
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
            help="A model, with settings after spaces: --model 'demo fps=4'. May be repeated.",
            parser=parse_text,
            metavar="TEXT",
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
            dir_okay=False,
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

    if judge and len(model) == 1:
        raise typer.BadParameter("--judge compares models: name another with --model")
    rank = process_rank()
    items = find_items(recordings, topic, reference, questions)
    evaluation = Evaluation(output, _trials(items, model, mode, controls))
    asked = judge and Judge(judge, judge_model, output / "judge", judge_prompt or PROMPT)
    console = Console(stderr=True, highlight=False)
    try:
        _run(evaluation, rank, console)
    except KeyboardInterrupt:
        console.print(_STOPPED)
        raise typer.Exit(130) from None
    results = evaluation.results()
    if len(results) < len(evaluation.trials):
        console.print("The process that ends last writes summary and report.")
        return
    rows = summarize(results)
    code = _judge(asked, results, rows, console) if asked else 0
    write_summary(output, rows)
    tell(results, rows, console)
    _report(output, results, rows, console)
    if all("skipped" in result for result in results):
        raise EvaluationError("nothing could be evaluated: everything was skipped")
    if code:
        raise typer.Exit(code)


def _trials(items: list[Item], models: list[str], modes: list[Mode], controls: bool) -> list[Trial]:
    """Model after model, so that each is loaded once."""
    from ..evaluation.candidate import candidates
    from ..evaluation.controls import CONTROLS
    from ..evaluation.evaluation import Trial

    shown = list(CONTROLS) if controls else list(CONTROLS)[:1]
    asked = tuple(mode.value for mode in modes)
    return [
        Trial(item, its, control, asked)
        for its in candidates(models)
        for item in items
        for control in shown
    ]


def _run(evaluation: Evaluation, rank: Rank, console: Console) -> None:
    from ..engine.qwen2_5.checkpoint import own_device

    left = evaluation.left(rank.number, rank.count)
    with Progress(*_COLUMNS, console=console) as progress:
        device = "auto" if rank.local is None else own_device(rank.local)
        evaluation.run(left, _Bars(progress, len(left)), device)


def _judge(judge: Judge, results: list[Result], rows: list[dict[str, Any]], to: Console) -> int:
    """Add the verdicts to the rows of the models that were judged.

    Returns the exit code: scores and report are there also if the judge is not waited for.
    """
    from ..evaluation.judging import judge_all

    try:
        with to.status("Waiting for the judge"):
            verdicts = judge_all(judge, results)
    except EvaluationError as error:
        to.print(f"error: {error}. The same command asks it again", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        to.print(_STOPPED)
        return 130
    for row in rows:
        if row["control"] == ORIGINAL and row["model"] in verdicts:
            row["judged"] = verdicts[row["model"]]
    return 0


def _report(
    output: Path, results: list[Result], rows: list[dict[str, Any]], console: Console
) -> None:
    from ..evaluation.report.report import write_report

    with console.status("Writing the report, with pictures of the recordings"):
        report = write_report(output, results, rows)
    console.print(f"Report: {report}", markup=False, soft_wrap=True)


class _Bars:
    """One bar for all trials, one for the recording that is being watched."""

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._length_s: float | None = None
        self._all = progress.add_task("trials", total=count)
        self._one = progress.add_task("", total=None)

    def began(self, trial: Trial, length_s: float | None) -> None:
        name = f"{trial.item.name}, {trial.candidate.label}, {trial.control}"
        self._length_s = length_s
        self._progress.reset(self._one, total=length_s, description=name)

    def advanced(self, watched_s: float) -> None:
        self._progress.update(self._one, completed=clamp(watched_s, self._length_s))

    def ended(self, trial: Trial) -> None:
        self._progress.advance(self._all)
