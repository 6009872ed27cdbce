"""`streamingvlm record`: what the robot sees and says, into bags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..bags.config import BagConfig, RecorderConfig
from .dds import use_packaged_profile
from .options import setting_option
from .require_ros import needing_ros


def record(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder in which a new bag is made, named by date and time."),
    ],
    topics: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            help="Record this topic, and only those that are named so. By default: images, "
            "camera_info, narration, answers and their text, /diagnostics, /tf, /tf_static.",
            show_default=False,
        ),
    ] = None,
    compression: Annotated[str | None, setting_option("compression")] = None,
    split_mb: Annotated[int | None, setting_option("split_mb")] = None,
    split_s: Annotated[int | None, setting_option("split_s")] = None,
    quota_gb: Annotated[float | None, setting_option("quota_gb")] = None,
    keep_free_mb: Annotated[int | None, setting_option("keep_free_mb")] = None,
    queue_mb: Annotated[int | None, setting_option("queue_mb")] = None,
    ring_s: Annotated[float | None, setting_option("ring_s")] = None,
    ring_mb: Annotated[int | None, setting_option("ring_mb")] = None,
) -> None:
    """Record what the robot sees and says until Ctrl-C; ~/save_clip keeps moments."""
    recorder = {
        "folder": str(folder),
        "quota_gb": quota_gb,
        "keep_free_mb": keep_free_mb,
        "queue_mb": queue_mb,
        "ring_s": ring_s,
        "ring_mb": ring_mb,
    }
    bag = {"compression": compression, "split_mb": split_mb, "split_s": split_s}
    use_packaged_profile()
    with needing_ros("recording"):
        from ..ros.recorder.node import RecorderSettings, main
    settings = RecorderSettings(
        RecorderConfig(**_given(recorder)), BagConfig(**_given(bag)), topics or ()
    )
    raise typer.Exit(main(settings))


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Without those that have no value: their defaults hold."""
    return {name: value for name, value in options.items() if value is not None}
