"""`streamingvlm replay`: narrate a recording as fast as possible, or play it back into ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .narration_formats import Format
from .offline import narrate_recording
from .options import setting_option
from .ros_environment import require_ros, use_packaged_profile

_LIVE_ONLY = {"rate", "start", "loop"}
_NARRATION_ONLY = {"model", "format", "output", "fps", "instruction", "temperature", "seed"}


def replay(
    context: typer.Context,
    recording: Annotated[
        Path,
        typer.Argument(
            help="A bag (a rosbag2 folder or one of its files) or a video file.",
            exists=True,
            show_default=False,
        ),
    ],
    *,
    topic: Annotated[
        str | None,
        typer.Option(
            help="Image topic. Needed if the bag has several cameras; with --live, play only "
            "this one.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str | None, setting_option("model")] = None,
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
    temperature: Annotated[float | None, setting_option("temperature")] = None,
    seed: Annotated[int | None, setting_option("seed")] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Publish the bag's messages and /clock in real time; narrate nothing."
        ),
    ] = False,
    rate: Annotated[
        float,
        typer.Option(
            help="With --live: playback speed as a multiple of real time.", min=0.01, max=100.0
        ),
    ] = 1.0,
    start: Annotated[
        float, typer.Option(help="With --live: seconds to skip at the start of the bag.", min=0.0)
    ] = 0.0,
    loop: Annotated[
        bool, typer.Option("--loop", help="With --live: start again at the end.")
    ] = False,
) -> None:
    """Narrate a bag or video; the same recording, model and seed give identical bytes.

    With --live, play the bag back into ROS instead, for a narrator that is
    already running.
    """
    _reject_useless_options(context, live=live)
    if live:
        raise typer.Exit(_play(recording, topic, rate=rate, start_s=start, loop=loop))
    settings = {
        "model": model,
        "fps": fps,
        "instruction": instruction,
        "temperature": temperature,
        "seed": seed,
    }
    narrate_recording(recording, topic, settings=settings, format=format, output=output)


def _reject_useless_options(context: typer.Context, *, live: bool) -> None:
    """Raise a usage error for options that would have no effect."""
    useless = sorted(_NARRATION_ONLY if live else _LIVE_ONLY)
    options = [f"--{name}" for name in useless if _is_typed(context, name)]
    if options:
        reason = "can't be used with --live, which narrates nothing" if live else "needs --live"
        raise typer.BadParameter(f"{', '.join(options)} {reason}")


def _is_typed(context: typer.Context, name: str) -> bool:
    """Return True for an option on the command line, False for a default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _play(bag: Path, topic: str | None, *, rate: float, start_s: float, loop: bool) -> int:
    use_packaged_profile()
    with require_ros("--live"):
        from ..ros.config import PlayerConfig
        from ..ros.player import node
    return node.main(PlayerConfig(str(bag), rate, start_s, loop, camera=topic or ""))
