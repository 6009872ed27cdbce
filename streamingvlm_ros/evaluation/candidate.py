"""A model, with settings, that takes part in an evaluation."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..config import Settings, settings_for
from ..engine.qwen2_5.checkpoint import resolve
from ..errors import EvaluationError
from ..setting import located, settings_of
from .naming import file_part


@dataclass(frozen=True)
class Candidate:
    """What is loaded and how it streams. `label` is what the user called it."""

    label: str
    checkpoint: Path | str
    settings: Settings

    @property
    def slug(self) -> str:
        """The label as a part of file names: no other label's."""
        return file_part(self.label)


def candidates(labels: Sequence[str]) -> list[Candidate]:
    """All that take part. EvaluationError if two have the same label."""
    doubled = sorted({label for label in labels if labels.count(label) > 1})
    if doubled:
        raise EvaluationError(f"given twice: --model {doubled[0]!r}")
    return [candidate(label) for label in labels]


def candidate(label: str) -> Candidate:
    """Return the model and settings of `MODEL` or `MODEL name=value …`.

    Values are written as in the parameter file; one with spaces needs quotes, as in a shell.

    Raises:
        EvaluationError: The label has no model, or a part without "=".
        ConfigError: A setting is unknown or wrong.
    """
    model, changes = split(label)
    checkpoint = resolve(model)
    settings = settings_for(checkpoint)
    with located(repr(label)):
        values = {name: _value(name, text) for name, text in changes.items()}
        return Candidate(label, checkpoint, settings.updated(values))


def split(label: str) -> tuple[str, dict[str, str]]:
    """The model of a label and its settings as they are written. EvaluationError if it has none."""
    try:
        model, *pairs = shlex.split(label)
    except ValueError as error:
        raise EvaluationError(f"no model in {label!r}: write MODEL NAME=VALUE …") from error
    for pair in pairs:
        if "=" not in pair:
            raise EvaluationError(f"{pair!r} in {label!r} is no setting: write NAME=VALUE")
    return model, dict(pair.split("=", 1) for pair in pairs)


def _value(name: str, text: str) -> Any:
    """Return a value as YAML reads it. What isn't YAML stays text, which numbers refuse."""
    setting = settings_of(Settings).get(name)
    if setting is None or setting.kind is str:
        return text
    try:
        return setting.from_yaml(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError):
        return text
