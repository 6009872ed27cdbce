"""Options that several commands share. A setting's own declaration supplies its help and range."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from ..bags.config import BagConfig, RecorderConfig
from ..config import Settings
from ..errors import ConfigError
from ..setting import Setting, settings_of
from .connection import parse_text

Recordings: TypeAlias = Annotated[
    list[Path],
    typer.Argument(help="Bags, videos, or folders of them.", exists=True, show_default=False),
]

_SETTINGS = {**settings_of(Settings), **settings_of(RecorderConfig), **settings_of(BagConfig)}


def setting_option(name: str) -> Any:
    """Return the option for the setting `name`, with its description and range.

    Its value is None if the user leaves it out: then the checkpoint's own value applies.
    """
    setting = _SETTINGS[name]
    allowed = f" [{setting.range}]" if setting.range else ""
    return typer.Option(
        f"--{name.replace('_', '-')}",
        help=setting.description + allowed,
        show_default=False,
        parser=parse_text if setting.kind is str else _number_parser(setting),
        metavar={int: "INTEGER", float: "FLOAT"}.get(setting.kind, "TEXT"),
    )


def _number_parser(setting: Setting) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return setting.check(setting.from_yaml(text))
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from error

    return parse
