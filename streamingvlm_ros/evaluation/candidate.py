"""Candidates: models with settings that an evaluation compares."""

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


@dataclass(frozen=True)
class Candidate:
    """A checkpoint and how it streams. `label` is what the user called it."""

    label: str
    checkpoint: Path | str
    settings: Settings


def parse_candidates(labels: Sequence[str]) -> list[Candidate]:
    """Return all candidates. EvaluationError if a label comes twice."""
    duplicates = sorted({label for label in labels if labels.count(label) > 1})
    if duplicates:
        raise EvaluationError(f"--model {duplicates[0]!r} is named more than once")
    return [parse_candidate(label) for label in labels]


def parse_candidate(label: str) -> Candidate:
    """Parse `MODEL` or `MODEL name=value …`, with settings as in the parameter file.

    Values with spaces are quoted as for a shell.

    Raises:
        EvaluationError: The label has no model, or something after it is not a setting.
        ConfigError: A setting is unknown, or its value is out of range.
    """
    model, changes = split_label(label)
    checkpoint = resolve(model)
    settings = settings_for(checkpoint)
    types = {name: type(value) for name, value in settings.flat().items()}
    values = {
        name: _parse_value(text, expected=types.get(name), name=name, label=label)
        for name, text in changes.items()
    }
    return Candidate(label, checkpoint, settings.updated(values))


def split_label(label: str) -> tuple[str, dict[str, str]]:
    """Return a label's model and its settings as they are written. EvaluationError if it can't."""
    try:
        model, *pairs = shlex.split(label)
    except ValueError as error:
        raise EvaluationError(f"no model in {label!r}; write MODEL NAME=VALUE …") from error
    for pair in pairs:
        if "=" not in pair:
            raise EvaluationError(f"{pair!r} in {label!r} is not a setting; write NAME=VALUE")
    return model, dict(pair.split("=", 1) for pair in pairs)


def _parse_value(text: str, *, expected: type | None, name: str, label: str) -> Any:
    """Parse a value as YAML would. Text stays text, and a whole number may stand for a float."""
    if expected is str:
        return text
    try:
        value = yaml.safe_load(text)
        return float(value) if expected is float else value
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise EvaluationError(f"{name}={text} in {label!r} is not a value for {name}") from error
