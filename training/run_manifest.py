"""The manifest of a run: its recipe and start, written before the first step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from streamingvlm_ros.errors import ConfigError

from .provenance import RECIPE, record_start, recorded_start
from .recipe import Recipe, read_recipe
from .start import copy_small_files

_MAY_CHANGE = ("training.save_every", "training.log_every")
"""Settings that may differ when a run is resumed: no weight depends on them."""
_START_FILES = "start_files"
"""Folder with the start's processor, chat templates and other small files."""


def write_manifest(recipe: Recipe, recipe_path: Path, *, folder: Path) -> None:
    """Write the recipe, and the provenance and small files of its start, all or nothing.

    All may change while the run trains: the start may even be the run's own earlier model.
    """
    part = folder.with_suffix(".part")
    for old in (part, folder):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copy(recipe_path, part / RECIPE)
    if recipe.start:
        record_start(recipe.start, part)
        copy_small_files(recipe.start, part / _START_FILES)
    part.rename(folder)


def check_unchanged(recipe: Recipe, folder: Path) -> None:
    """Raise ConfigError if the run in `folder` started with another recipe or another start."""
    first = dict(_flat(asdict(read_recipe(folder / RECIPE, recorded_start(folder)))))
    now = dict(_flat(asdict(recipe)))
    changes = [
        f"{name} {first.get(name)!r}, now {now.get(name)!r}"
        for name in sorted({*first, *now} - {*_MAY_CHANGE})
        if first.get(name) != now.get(name)
    ]
    if changes:
        raise ConfigError(
            f"this run started with another recipe: {'; '.join(changes)}; undo the change, or "
            "start another run with --output"
        )


def copy_start_files(folder: Path, model: Path) -> None:
    """Copy the start's small files into a finished model, before it writes its own.

    Runs from scratch and manifests of older versions have none.
    """
    if (folder / _START_FILES).exists():
        shutil.copytree(folder / _START_FILES, model, dirs_exist_ok=True)


def start_override(folder: Path) -> str | None:
    """Return the start that replaced the recipe's own (`--start-model`); None if none did."""
    start = recorded_start(folder)
    if start is None or start == yaml.safe_load((folder / RECIPE).read_text("utf-8")).get("start"):
        return None
    return start


def _flat(content: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting with its full name."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{group}{name}.")
        else:
            yield f"{group}{name}", value
