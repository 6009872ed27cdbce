"""`streamingvlm evaluate`: compare models on recordings with references and questions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import EvaluationError
from ..evaluation.result import ORIGINAL
from ..rank import Rank, process_rank
from ..time_format import clamp
from .ask import AnswerMode
from .connection import parse_text
from .console import print_message, stderr_console
from .evaluation_output import print_scores
from .options import Recordings

if TYPE_CHECKING:
    from ..evaluation.evaluation import Evaluation, Trial
    from ..evaluation.items import Item
    from ..evaluation.judge import Judge
    from ..evaluation.result import Result

_STOPPED = "Stopped. Run the same command again to resume."
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())


_DEFAULT_MODELS, _DEFAULT_MODES = ["auto"], [AnswerMode.STREAM]


def evaluate(
    recordings: Recordings,
    output: Annotated[
        Path,
        typer.Option(
            help="Output folder. Existing results are reused; the run resumes.",
            file_okay=False,
            show_default=False,
        ),
    ],
    *,
    model: Annotated[
        list[str],
        typer.Option(
            help="A model and, after spaces, its settings: --model 'demo fps=4'. Repeat the option "
            "to compare models.",
            parser=parse_text,
            metavar="TEXT",
        ),
    ] = _DEFAULT_MODELS,
    reference: Annotated[
        str | None,
        typer.Option(
            help="Reference narration: a .jsonl, .vtt or .srt file, or a narration topic of the "
            "bag. Default: RECORDING.jsonl, .vtt or .srt beside the recording.",
            show_default=False,
        ),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            help="Timed questions with answers (.jsonl). Default: RECORDING.questions.jsonl beside "
            "the recording.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(help="Image topic. Needed if a bag has several cameras.", show_default=False),
    ] = None,
    mode: Annotated[
        list[AnswerMode],
        typer.Option(help="Source of the answers (see `ask`). Repeat the option to compare modes."),
    ] = _DEFAULT_MODES,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls", help="Also run each model without frames and with shuffled frames."
        ),
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            help="OpenAI-compatible endpoint, such as http://localhost:8000/v1, whose model judges "
            "each narration against the first model's. Reads its key from OPENAI_API_KEY.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
    judge_model: Annotated[
        str, typer.Option(help="Name of the judge's model at that endpoint.")
    ] = "default",
    judge_prompt: Annotated[
        Path | None,
        typer.Option(
            help="Text file with the judge's prompt. Default: the built-in prompt.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare models on recordings: narration scores, answers, speed and memory.

    You can stop the run and resume it, and share it between GPUs and hosts
    with `torchrun` or `accelerate launch`.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from ..evaluation.evaluation import Evaluation
    from ..evaluation.items import find_items
    from ..evaluation.judge import PROMPT, Judge
    from ..evaluation.summary import summarize, write_summary

    if judge and len(model) == 1:
        raise typer.BadParameter("--judge compares models; add a second --model")
    rank = process_rank()
    items = find_items(recordings, topic, reference, questions)
    evaluation = Evaluation(output, _trials(items, model, modes=mode, controls=controls))
    comparer = judge and Judge(judge, judge_model, output / "judge", judge_prompt or PROMPT)
    console = stderr_console()
    try:
        _run(evaluation, rank, console=console)
    except KeyboardInterrupt:
        console.print(_STOPPED)
        raise typer.Exit(130) from None
    results = evaluation.results()
    if len(results) < len(evaluation.trials):
        console.print("The last process to finish writes the summary and the report.")
        return
    rows = summarize(results)
    code = _judge(comparer, results, rows=rows, console=console) if comparer else 0
    write_summary(output, rows)
    print_scores(results, rows, console=console)
    _report(output, results, rows=rows, console=console)
    if all("skipped" in result for result in results):
        raise EvaluationError("nothing was evaluated: every recording was skipped")
    if code:
        raise typer.Exit(code)


def _trials(
    items: list[Item], models: list[str], *, modes: list[AnswerMode], controls: bool
) -> list[Trial]:
    """Return the trials of one model after another, so that each model is loaded once."""
    from ..evaluation.candidate import candidates
    from ..evaluation.controls import CONTROLS
    from ..evaluation.evaluation import Trial

    inputs = list(CONTROLS) if controls else list(CONTROLS)[:1]
    mode_names = tuple(mode.value for mode in modes)
    return [
        Trial(item, candidate, control, mode_names)
        for candidate in candidates(models)
        for item in items
        for control in inputs
    ]


def _run(evaluation: Evaluation, rank: Rank, *, console: Console) -> None:
    from ..engine.qwen2_5.checkpoint import own_device

    remaining = evaluation.left(rank.number, rank.count)
    with Progress(*_COLUMNS, console=console) as progress:
        device = "auto" if rank.local is None else own_device(rank.local)
        evaluation.run(remaining, _ProgressBars(progress, len(remaining)), device)


def _judge(
    judge: Judge, results: list[Result], *, rows: list[dict[str, Any]], console: Console
) -> int:
    """Add the verdicts to the rows of the judged models. Return the exit code.

    Scores and report are written even if the judge fails or the user doesn't wait for it.
    """
    from ..evaluation.judging import judge_all

    try:
        with console.status("Waiting for the judge"):
            verdicts = judge_all(judge, results)
    except EvaluationError as error:
        print_message(console, f"error: {error}. Run the same command again to retry")
        return 1
    except KeyboardInterrupt:
        console.print(_STOPPED)
        return 130
    for row in rows:
        if row["control"] == ORIGINAL and row["model"] in verdicts:
            row["judged"] = verdicts[row["model"]]
    return 0


def _report(
    output: Path, results: list[Result], *, rows: list[dict[str, Any]], console: Console
) -> None:
    from ..evaluation.report.report import write_report

    with console.status("Writing the report"):
        report = write_report(output, results, rows)
    print_message(console, f"Report: {report}")


class _ProgressBars:
    """A bar for all trials, and one for the recording in progress."""

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._length_s: float | None = None
        self._all_trials = progress.add_task("trials", total=count)
        self._recording = progress.add_task("", total=None)

    def began(self, trial: Trial, length_s: float | None) -> None:
        name = f"{trial.item.name}, {trial.candidate.label}, {trial.control}"
        self._length_s = length_s
        self._progress.reset(self._recording, total=length_s, description=name)

    def advanced(self, watched_s: float) -> None:
        self._progress.update(self._recording, completed=clamp(watched_s, self._length_s))

    def ended(self, trial: Trial) -> None:
        self._progress.advance(self._all_trials)
