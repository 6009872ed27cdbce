"""A model, with settings, that takes part in an evaluation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..config import Settings, settings_for
from ..engine.model import resolve
from ..errors import EvaluationError


@dataclass(frozen=True)
class Contestant:
    """What is loaded and how it streams. `label` is what the user called it."""

    label: str
    checkpoint: Path | str
    settings: Settings

    @property
    def slug(self) -> str:
        """The label as a part of file names."""
        return re.sub(r"[^\w.=-]+", "_", self.label).strip("_")


def contestant(label: str) -> Contestant:
    """`MODEL` or `MODEL name=value …`: settings as in the parameter file, after spaces.

    EvaluationError for what is no setting, ConfigError for a value out of its range.
    """
    model, *pairs = label.split()
    changes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise EvaluationError(f"{pair!r} in {label!r} is no setting: write NAME=VALUE")
        changes[name] = yaml.safe_load(value)
    checkpoint = resolve(model)
    settings = settings_for(checkpoint)
    kinds = {name: type(value) for name, value in settings.flat().items()}
    # As in a parameter file, `fps=4` is a whole number that will do.
    wanted = {n: float(v) if kinds.get(n) is float else v for n, v in changes.items()}
    return Contestant(label, checkpoint, settings.updated(wanted))
