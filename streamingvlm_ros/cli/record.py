"""`streamingvlm record`: record camera images, narration and answers in bags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..bags.config import BagConfig, RecorderConfig
from .options import setting_option
from .ros_environment import require_ros, use_packaged_profile


def record(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder for the new bag, which is named by date and time."),
    ],
    topics: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            help="Record only this topic; repeat the option for several. Default: images, "
            "camera_info, narration, answers and their text, /diagnostics, /tf, /tf_static.",
            show_default=False,
        ),
    ] = None,
    *,
    compression: Annotated[str | None, setting_option("compression")] = None,
    split_mb: Annotated[int | None, setting_option("split_mb")] = None,
    split_s: Annotated[int | None, setting_option("split_s")] = None,
    quota_gb: Annotated[float | None, setting_option("quota_gb")] = None,
    keep_free_mb: Annotated[int | None, setting_option("keep_free_mb")] = None,
    queue_mb: Annotated[int | None, setting_option("queue_mb")] = None,
    ring_s: Annotated[float | None, setting_option("ring_s")] = None,
    ring_mb: Annotated[int | None, setting_option("ring_mb")] = None,
) -> None:
    """Record what the robot sees and says until Ctrl-C; ~/save_clip saves the last moments."""
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
    with require_ros("recording"):
        from ..ros.recorder.node import RecorderSettings, main
    recorder_config = RecorderConfig(**_without_none(recorder))
    bag_config = BagConfig(**_without_none(bag))
    raise typer.Exit(main(RecorderSettings(recorder_config, bag_config, topics or ())))


def _without_none(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were set; defaults hold for the others."""
    return {name: value for name, value in options.items() if value is not None}
