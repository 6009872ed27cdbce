"""`streamingvlm export`: cut recordings into clips to train a model on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from ..plural import plural
from ..rank import process_rank
from .console import print_message, stderr_console
from .options import Recordings

if TYPE_CHECKING:
    from streamingvlm_training.datasets.export import Exported

_MAX_LISTED = 5
"""Maximum number of problems listed per recording, and of recordings listed as left out."""


def export(
    recordings: Recordings,
    output: Annotated[
        Path,
        typer.Option(
            help="Output folder for videos, train.jsonl and validation.jsonl.",
            file_okay=False,
            show_default=False,
        ),
    ],
    *,
    model: Annotated[
        str,
        typer.Option(
            help="The model to train: its frame rate and window sizes are used for the clips."
        ),
    ] = "auto",
    topic: Annotated[
        str | None,
        typer.Option(help="Image topic. Needed if a bag has several cameras.", show_default=False),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(
            help="Length of a clip in seconds. Default: 24, as in the paper.", show_default=False
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            help="Seconds shared by consecutive clips. Default: 12, as in the paper.",
            show_default=False,
        ),
    ] = None,
    validation: Annotated[
        int,
        typer.Option(
            help="Use about one recording in N for validation, chosen by its name; 0: none.",
            min=0,
        ),
    ] = 10,
) -> None:
    """Cut recordings and their narration into clips for training.

    Labels come from a file beside the recording (NAME.jsonl, .vtt or .srt;
    clip.jsonl in a saved clip), including your corrections, or else from the
    bag's narration. Questions come from NAME.questions.jsonl or from the
    answers in the bag.

    You can stop the export and resume it, and share it between processes and
    hosts with `torchrun`.
    """
    from streamingvlm_training.datasets.cutting import CutConfig
    from streamingvlm_training.datasets.export import export as export_clips
    from streamingvlm_training.datasets.export import share

    from ..engine.model import checkpoint_settings, resolve
    from ..recordings.folder import find_recordings, skipped_entries

    rank = process_rank()
    paths = [recording for path in recordings for recording in find_recordings(path)]
    lengths = {"clip_s": clip, "overlap_s": overlap}
    config = CutConfig(**{name: value for name, value in lengths.items() if value is not None})
    checkpoint = resolve(model)
    settings = checkpoint_settings(checkpoint)
    console = stderr_console()
    if rank.number == 0:
        source = f"{checkpoint} (--model {model})"
        print_message(console, f"frame rate and windows are those of {source}")
        for line in skipped_entries(*recordings):
            print_message(console, line)
    with Progress(console=console) as progress:
        task = progress.add_task("exporting", total=len(share(paths, rank)))
        advance = partial(progress.advance, task)
        exported = export_clips(
            paths,
            output,
            settings=settings,
            config=config,
            validation=validation,
            advance=advance,
            rank=rank,
            topic=topic,
        )
    if exported is None:
        console.print("The last process to finish writes train.jsonl and validation.jsonl.")
        return
    _print_problems(exported, console)
    for name, clips in (("train", exported.train), ("validation", exported.validation)):
        print(f"{name}: {plural(sum(clips.values()), 'clip')} of {plural(len(clips), 'recording')}")


def _print_problems(exported: Exported, console: Console) -> None:
    """Print what was skipped, what should be checked, and what was left out."""
    for path, reason in exported.skipped.items():
        print_message(console, f"skipped {path}: {reason}")
    for path, problems in exported.problems.items():
        for problem in problems[:_MAX_LISTED]:
            print_message(console, f"check {path}: {problem}")
        if len(problems) > _MAX_LISTED:
            more = len(problems) - _MAX_LISTED
            print_message(console, f"check {path}: and {more} other problems")
    if exported.others:
        count, names = len(exported.others), ", ".join(exported.others[:_MAX_LISTED])
        ellipsis = "…" if count > _MAX_LISTED else ""
        message = f"left out: {plural(count, 'recording')} exported before ({names}{ellipsis})"
        print_message(console, message)
