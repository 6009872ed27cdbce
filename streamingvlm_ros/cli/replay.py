"""`streamingvlm replay`: a recording to narration again, as fast as the machine goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .offline import narrate_recording
from .options import setting_option
from .writers import Format


def replay(
    recording: Annotated[
        Path,
        typer.Argument(
            help="A bag (a rosbag2 folder, or one of its files) or a video.",
            exists=True,
            show_default=False,
        ),
    ],
    topic: Annotated[
        str | None,
        typer.Option(help="The camera, if the bag has several.", show_default=False),
    ] = None,
    model: Annotated[str | None, setting_option("model")] = None,
    format: Annotated[Format, typer.Option(help="How to write.")] = Format.TEXT,
    output: Annotated[
        Path | None,
        typer.Option(
            help="File, or folder of a bag, to write to instead of the terminal.",
            show_default=False,
        ),
    ] = None,
    fps: Annotated[float | None, setting_option("fps")] = None,
    instruction: Annotated[str | None, setting_option("instruction")] = None,
    temperature: Annotated[float | None, setting_option("temperature")] = None,
    seed: Annotated[int | None, setting_option("seed")] = None,
) -> None:
    """Narrate a bag or a video again: the same recording, model and seed give the same bytes."""
    given = {
        "model": model,
        "fps": fps,
        "instruction": instruction,
        "temperature": temperature,
        "seed": seed,
    }
    narrate_recording(recording, topic, given, format, output)
