"""Candidates: models with settings that an evaluation compares."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..config import Settings
from ..engine.model import checkpoint_settings, resolve
from ..errors import EvaluationError
from ..setting import located, settings_of


@dataclass(frozen=True)
class Candidate:
    """A checkpoint and how it streams. `label` is the user's text."""

    label: str
    checkpoint: Path | str
    settings: Settings


def parse_candidates(labels: Sequence[str]) -> list[Candidate]:
    """Return all candidates. EvaluationError if a label is repeated."""
    duplicates = sorted({label for label in labels if labels.count(label) > 1})
    if duplicates:
        raise EvaluationError(f"--model {duplicates[0]!r} is named more than once")
    return [parse_candidate(label) for label in labels]


def parse_candidate(label: str) -> Candidate:
    """Parse `MODEL` or `MODEL name=value …`, with settings as in the parameter file.

    Values with spaces are quoted as for a shell.

    Raises:
        EvaluationError: The label has no model, or a part without "=".
        ModelError: There is no such model.
        ConfigError: A setting is unknown or wrong.
    """
    model, changes = split_label(label)
    checkpoint = resolve(model)
    settings = checkpoint_settings(checkpoint)
    with located(repr(label)):
        values = {name: _parse_value(name, text) for name, text in changes.items()}
        return Candidate(label, checkpoint, settings.updated(values))


def split_label(label: str) -> tuple[str, dict[str, str]]:
    """Return a label's model and its unparsed settings. EvaluationError if there is no model."""
    try:
        model, *pairs = shlex.split(label)
    except ValueError as error:
        raise EvaluationError(f"no model in {label!r}; write MODEL NAME=VALUE …") from error
    for pair in pairs:
        if "=" not in pair:
            raise EvaluationError(f"{pair!r} in {label!r} is not a setting; write NAME=VALUE")
    return model, dict(pair.split("=", 1) for pair in pairs)


def _parse_value(name: str, text: str) -> Any:
    """Return the value as YAML reads it, or `text` itself if it isn't YAML."""
    setting = settings_of(Settings).get(name)
    if setting is None or setting.kind is str:
        return text
    try:
        return setting.from_yaml(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError):
        return text
