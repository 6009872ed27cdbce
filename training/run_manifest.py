"""How a run was begun: kept before it learns, and compared when it is gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from streamingvlm_ros.errors import ConfigError

from .recipe import Recipe, read_recipe
from .weights import note_start, noted_start

RECIPE = "recipe.yaml"
LOG = "training.jsonl"
_FREE = ("training.save_every", "training.log_every")
"""What may differ: nothing that is learnt depends on it."""


def keep(recipe: Recipe, recipe_path: Path, folder: Path) -> None:
    """Write the recipe and what it starts from into `folder`, all or nothing.

    Both may be changed while it learns: the start may even be the run's own earlier model.
    """
    part = folder.with_suffix(".part")
    for old in (part, folder):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copy(recipe_path, part / RECIPE)
    if recipe.start:
        note_start(recipe.start, part, (RECIPE, LOG))
    part.rename(folder)


def check_same(recipe: Recipe, folder: Path) -> None:
    """ConfigError if the run was begun with another recipe than is now given."""
    begun = dict(_entries(asdict(read_recipe(folder / RECIPE, noted_start(folder)))))
    now = dict(_entries(asdict(recipe)))
    different = [
        f"{name} {begun.get(name)!r}, now {now.get(name)!r}"
        for name in sorted({*begun, *now} - {*_FREE})
        if begun.get(name) != now.get(name)
    ]
    if different:
        raise ConfigError(
            f"this run was begun with another recipe: {'; '.join(different)}; --output begins "
            "another one"
        )


def given_start(folder: Path) -> str | None:
    """What a run was told to begin with instead of its recipe's start; None if it wasn't."""
    noted = noted_start(folder)
    if noted is None or noted == yaml.safe_load((folder / RECIPE).read_text()).get("start"):
        return None
    return noted


def _entries(content: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its full name."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _entries(value, f"{group}{name}.")
        else:
            yield f"{group}{name}", value
