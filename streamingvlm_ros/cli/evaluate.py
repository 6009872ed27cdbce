"""`streamingvlm evaluate`: compare models on recordings with references and questions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import EvaluationError
from ..rank import Rank, process_rank
from ..time_format import clamp
from ..types import AnswerMode
from .connection import parse_text
from .console import print_message, stderr_console
from .evaluation_output import print_scores
from .options import Recordings

if TYPE_CHECKING:
    from ..evaluation.evaluation import Evaluation
    from ..evaluation.items import SuiteArguments
    from ..evaluation.judge import Judge
    from ..evaluation.results import Result
    from ..evaluation.summary import SummaryRow
    from ..evaluation.trial import Trial


_STOPPED = "Stopped. Run the same command again to resume."
_COLUMNS = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())


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
    suite: Annotated[
        str,
        typer.Option(
            help="Format of recordings and labels. own: label files beside each recording."
        ),
    ] = "own",
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
    from ..evaluation.items import SuiteArguments
    from ..evaluation.judge import DEFAULT_PROMPT, Judge
    from ..evaluation.results import OWN_SUITE, completed
    from ..evaluation.summary import summarize, write_summary
    from ..recordings.folder import skipped_entries

    if judge and len(model) == 1:
        raise typer.BadParameter("--judge compares models; add a second --model")
    rank = process_rank()
    console = stderr_console()
    if rank.number == 0 and suite == OWN_SUITE:
        for line in skipped_entries(*recordings):
            print_message(console, line)
    arguments = SuiteArguments(tuple(recordings), topic, reference, questions)
    trials = _trials(suite, arguments, models=model, modes=mode, controls=controls)
    evaluation = Evaluation(output, trials)
    cache, prompt = output / "judge", judge_prompt or DEFAULT_PROMPT
    comparer = Judge(judge, judge_model, cache=cache, prompt=prompt) if judge else None
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
    if not completed(results):
        raise EvaluationError("nothing was evaluated: every recording was skipped")
    if code:
        raise typer.Exit(code)


def _trials(
    suite: str,
    arguments: SuiteArguments,
    *,
    models: list[str],
    modes: list[AnswerMode],
    controls: bool,
) -> list[Trial]:
    """Return the trials, model after model, so that each model is loaded once."""
    from ..evaluation.candidate import parse_candidates
    from ..evaluation.controls import CONTROLS
    from ..evaluation.suites import suite_named
    from ..evaluation.trial import Trial

    items = suite_named(suite)(arguments)
    applied = list(CONTROLS) if controls else list(CONTROLS)[:1]
    mode_names = tuple(mode.value for mode in modes)
    return [
        Trial(item, candidate, control, mode_names, suite)
        for candidate in parse_candidates(models)
        for item in items
        for control in applied
    ]


def _run(evaluation: Evaluation, rank: Rank, *, console: Console) -> None:
    from ..engine.model import own_device

    trials = evaluation.remaining(rank.number, rank.count)
    with Progress(*_COLUMNS, console=console) as progress:
        device = "auto" if rank.local is None else own_device(rank.local)
        evaluation.run(trials, _ProgressBars(progress, len(trials)), device=device)


def _judge(
    judge: Judge, results: Sequence[Result], *, rows: Sequence[SummaryRow], console: Console
) -> int:
    """Add judgements to the rows of the models that were judged.

    Returns the exit code. Scores and report are kept if the judge fails or is interrupted.
    """
    from ..evaluation.judge import judge_all

    try:
        with console.status("Waiting for the judge"):
            judgements = judge_all(judge, results)
    except EvaluationError as error:
        print_message(console, f"error: {error}. Run the same command again to retry")
        return 1
    except KeyboardInterrupt:
        console.print(_STOPPED)
        return 130
    for row in rows:
        if row.is_original:
            row.judged = judgements.get(row.model)
    return 0


def _report(
    output: Path, results: Sequence[Result], *, rows: Sequence[SummaryRow], console: Console
) -> None:
    from ..evaluation.report.report import write_report

    with console.status("Writing the report"):
        report = write_report(output, results, rows=rows)
    print_message(console, f"Report: {report}")


class _ProgressBars:
    """A bar for all trials, and one for the current recording."""

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._duration_s: float | None = None
        self._trials = progress.add_task("trials", total=count)
        self._recording = progress.add_task("", total=None)

    def on_start(self, trial: Trial, duration_s: float | None) -> None:
        name = f"{trial.item.name}, {trial.candidate.label}, {trial.control}"
        self._duration_s = duration_s
        self._progress.reset(self._recording, total=duration_s, description=name)

    def on_progress(self, elapsed_s: float) -> None:
        self._progress.update(self._recording, completed=clamp(elapsed_s, self._duration_s))

    def on_end(self, trial: Trial) -> None:
        self._progress.advance(self._trials)
