"""Options of several commands. What a setting means stands where it is declared."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from ..bags.config import BagConfig, RecorderConfig
from ..config import (
    FrameConfig,
    ModelConfig,
    PromptConfig,
    SamplingConfig,
    WindowConfig,
)
from .connection import parse_text

Recordings: TypeAlias = Annotated[
    list[Path],
    typer.Argument(help="Bags, videos, or folders of them.", exists=True, show_default=False),
]

_GROUPS = (
    FrameConfig,
    ModelConfig,
    WindowConfig,
    SamplingConfig,
    PromptConfig,
    RecorderConfig,
    BagConfig,
)


def setting_option(name: str) -> Any:
    """The option for the setting `name`, with its description and range.

    Its value is None when it isn't given: then the checkpoint's own settings hold.
    """
    declared = next(item for group in _GROUPS for item in fields(group) if item.name == name)
    limits = {"min": declared.metadata["low"], "max": declared.metadata["high"]}
    text = {"parser": parse_text, "metavar": "TEXT"}
    return typer.Option(
        f"--{name.replace('_', '-')}",
        help=declared.metadata["description"],
        show_default=False,
        **(text if isinstance(declared.default, str) else limits),
    )
