"""`streamingvlm narrate`: narrate a video file. Needs no ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .narration_formats import Format
from .offline import narrate_recording
from .options import setting_option


def narrate(
    video: Annotated[
        Path,
        typer.Argument(help="The video file.", exists=True, dir_okay=False, show_default=False),
    ],
    model: Annotated[str | None, setting_option("model")] = None,
    *,
    format: Annotated[
        Format, typer.Option(help="Output format; bag needs --output.")
    ] = Format.TEXT,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Output file (a new folder for a bag). Default: standard output.",
            show_default=False,
        ),
    ] = None,
    fps: Annotated[float | None, setting_option("fps")] = None,
    instruction: Annotated[str | None, setting_option("instruction")] = None,
    previous_text: Annotated[str | None, setting_option("previous_text")] = None,
    temperature: Annotated[float | None, setting_option("temperature")] = None,
    seed: Annotated[int | None, setting_option("seed")] = None,
) -> None:
    """Narrate a video file second by second, as text, JSON lines, WebVTT subtitles or a bag."""
    settings = {
        "model": model,
        "fps": fps,
        "instruction": instruction,
        "previous_text": previous_text,
        "temperature": temperature,
        "seed": seed,
    }
    narrate_recording(video, None, settings=settings, format=format, output=output)
