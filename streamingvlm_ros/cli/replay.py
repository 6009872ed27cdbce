"""`streamingvlm replay`: a recording to narration again, as fast as the machine goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .dds import use_packaged_profile
from .narration_formats import Format
from .offline import narrate_recording
from .options import setting_option
from .require_ros import needing_ros

_LIVE_ONLY = {"rate", "start", "loop"}
_NARRATED_ONLY = {"model", "format", "output", "fps", "instruction", "temperature", "seed"}


def replay(
    context: typer.Context,
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
        typer.Option(
            help="The camera, if the bag has several; with --live, the only one that is played.",
            show_default=False,
        ),
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
    live: Annotated[
        bool, typer.Option("--live", help="Publish the bag, with /clock, and narrate nothing.")
    ] = False,
    rate: Annotated[
        float, typer.Option(help="With --live: how many times as fast.", min=0.01, max=100.0)
    ] = 1.0,
    start: Annotated[
        float, typer.Option(help="With --live: seconds to leave out at the beginning.", min=0.0)
    ] = 0.0,
    loop: Annotated[
        bool, typer.Option("--loop", help="With --live: begin anew at the end.")
    ] = False,
) -> None:
    """Narrate a bag or a video again: the same recording, model and seed give the same bytes.

    With --live the bag is played into ROS instead, for a narrator that runs.
    """
    _refuse(context, _NARRATED_ONLY if live else _LIVE_ONLY, live)
    if live:
        raise typer.Exit(_play(recording, topic, rate, start, loop))
    given = {
        "model": model,
        "fps": fps,
        "instruction": instruction,
        "temperature": temperature,
        "seed": seed,
    }
    narrate_recording(recording, topic, given, format, output)


def _refuse(context: typer.Context, unfit: set[str], live: bool) -> None:
    """A usage error for options that would do nothing."""
    sources = {name: context.get_parameter_source(name) for name in sorted(unfit)}
    given = [f"--{name}" for name, its in sources.items() if its and its.name == "COMMANDLINE"]
    if given:
        why = "can't be given with --live, which narrates nothing" if live else "needs --live"
        raise typer.BadParameter(f"{', '.join(given)} {why}")


def _play(bag: Path, topic: str | None, rate: float, start_s: float, loop: bool) -> int:
    use_packaged_profile()
    with needing_ros("--live"):
        from ..ros.config import PlayerConfig
        from ..ros.player import node
    return node.main(PlayerConfig(str(bag), rate, start_s, loop, camera=topic or ""))
