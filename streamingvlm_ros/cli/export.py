"""`streamingvlm export`: recordings to clips that a model can be trained on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from ..rank import process_rank
from .options import Recordings

if TYPE_CHECKING:
    from streamingvlm_training.datasets.export import Exported

_SHOWN = 5
"""Problems of a recording, and names of those that are left out."""


def export(
    recordings: Recordings,
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for videos, train.jsonl and validation.jsonl.",
            file_okay=False,
            show_default=False,
        ),
    ],
    model: Annotated[
        str, typer.Option(help="The model to adapt: its frames per second and windows are taken.")
    ] = "auto",
    topic: Annotated[
        str | None,
        typer.Option(help="The camera, if a bag has several.", show_default=False),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Seconds of a clip; without it the paper's 24.", show_default=False),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(help="Seconds that two share; without it the paper's 12.", show_default=False),
    ] = None,
    validation: Annotated[
        int,
        typer.Option(
            help="About every N-th recording, chosen by its name, is for validation; 0: none.",
            min=0,
        ),
    ] = 10,
) -> None:
    """Cut recordings and what is said in them into clips: tomorrow's training data.

    Words are those beside a recording (NAME.jsonl, .vtt or .srt; a kept clip's own), with
    corrections, or a bag's narration. Questions are those of NAME.questions.jsonl or of a bag's
    answers.

    Can be stopped and begun again, and shared between processes and hosts with `torchrun`.
    """
    from streamingvlm_training.datasets.cutting import CutConfig
    from streamingvlm_training.datasets.export import export as write
    from streamingvlm_training.datasets.export import share

    from ..config import settings_for
    from ..engine.qwen2_5.checkpoint import resolve
    from ..recordings.folder import find_recordings, unlisted

    rank = process_rank()
    paths = [found for path in recordings for found in find_recordings(path)]
    given = {"clip_s": clip, "overlap_s": overlap}
    config = CutConfig(**{name: value for name, value in given.items() if value is not None})
    checkpoint = resolve(model)
    settings = settings_for(checkpoint)
    console = Console(stderr=True, highlight=False)
    if rank.number == 0:
        _say(console, f"frames per second and windows are those of {checkpoint} (--model {model})")
        for folder in (found for path in recordings for found in unlisted(path)):
            _say(console, f"passed over {folder}: it can't be listed")
    with Progress(console=console) as progress:
        task = progress.add_task("exporting", total=len(share(paths, rank)))
        advance = partial(progress.advance, task)
        done = write(
            paths,
            output,
            settings=settings,
            config=config,
            validation=validation,
            advance=advance,
            rank=rank,
            topic=topic,
        )
    if done is None:
        console.print("The process that ends last writes train.jsonl and validation.jsonl.")
        return
    _tell(done, console)
    for name, clips in (("train", done.train), ("validation", done.validation)):
        print(f"{name}: {sum(clips.values())} clips of {len(clips)} recordings")


def _tell(done: Exported, console: Console) -> None:
    """What was left out, and what should be looked at."""
    for path, why in done.skipped.items():
        _say(console, f"skipped {path}: {why}")
    for path, problems in done.problems.items():
        more = [f"and {len(problems) - _SHOWN} other problems"] if len(problems) > _SHOWN else []
        for what in [*problems[:_SHOWN], *more]:
            _say(console, f"look at {path}: {what}")
    if done.others:
        some = ", ".join(done.others[:_SHOWN]) + ("…" if len(done.others) > _SHOWN else "")
        _say(console, f"left out: {len(done.others)} recordings exported before ({some})")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
