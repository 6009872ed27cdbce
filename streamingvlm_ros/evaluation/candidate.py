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
    """`MODEL` or `MODEL name=value …`: settings as in the parameter file, after spaces.

    A value with spaces stands in quotes, as for a shell. EvaluationError for what is no setting,
    ConfigError for a value out of its range.
    """
    model, changes = split(label)
    checkpoint = resolve(model)
    settings = settings_for(checkpoint)
    kinds = {name: type(value) for name, value in settings.flat().items()}
    wanted = {name: _value(label, name, value, kinds.get(name)) for name, value in changes.items()}
    return Candidate(label, checkpoint, settings.updated(wanted))


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


def _value(label: str, name: str, text: str, kind: type | None) -> Any:
    """As YAML reads it; text stays text, and a whole number will do where a fraction is meant."""
    if kind is str:
        return text
    try:
        value = yaml.safe_load(text)
        return float(value) if kind is float else value
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise EvaluationError(f"{name}={text} in {label!r} is no value for {name}") from error
