"""Notes beside a checkpoint's weights: how they were made, in all stages.

Beside the weights are the notes of the last stage: `recipe.yaml`, `training.jsonl` and, unless it
trained a model from scratch, `start.json` with the name and the SHA-256 of its start. Earlier
stages have a folder each, with the same files, oldest first: `provenance/1_demo`,
`provenance/2_demo_window`. Older checkpoints nest them as `start/`, `start/start/`; a run that
starts from one of those writes them flat.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import yaml

from streamingvlm_ros.engine.model import resolve
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.file_hash import sha256_of

from .recipe import Recipe

RECIPE = "recipe.yaml"
LOG = "training.jsonl"
START = "start.json"
PROVENANCE = "provenance"
_NESTED = "start"
"""Folder in which older checkpoints keep the notes of the stage before."""
_WEIGHTS_PATTERN = "*.safetensors"
_MAX_NAME_LENGTH = 60


def check_start(recipe: Recipe) -> None:
    """Raise ConfigError unless `recipe.start` was made by the recipe that `after` names."""
    if not recipe.after:
        return
    start = resolve(recipe.start)
    if not isinstance(start, Path) or _recipe_name(start) != recipe.after:
        raise ConfigError(
            f"{recipe.start} was not made by the recipe {recipe.after!r}, which this stage "
            "continues: name another model with --start-model, or accept this one with --any-start"
        )


def record_start(start: str, folder: Path) -> None:
    """Write into `folder` what a run starts from, and the notes of the stages that made it.

    `start.json` holds the name and, for a local folder, the SHA-256 of its `*.safetensors` files,
    one after another in the order of their names. A hub id has only its name, unless
    it is in the local cache.
    """
    source = resolve(start)
    record = {"start": start}
    if isinstance(source, Path):
        if weights := sorted(source.glob(_WEIGHTS_PATTERN)):
            record["sha256"] = sha256_of(weights)
        _copy_stages([*_earlier_stages(source), source], folder / PROVENANCE)
    (folder / START).write_text(json.dumps(record) + "\n")


def recorded_start(folder: Path) -> str | None:
    """Return the start that `record_start` wrote; None for a model from scratch."""
    note = folder / START
    return json.loads(note.read_text())["start"] if note.exists() else None


def copy_provenance(manifest: Path, log: Path, *, model: Path) -> None:
    """Give a finished checkpoint the notes of its run, replacing any earlier ones.

    `manifest` is the folder written before the first step, maybe by an older version. `start.json`
    is written last.
    """
    for folder in (PROVENANCE, _NESTED):
        shutil.rmtree(model / folder, ignore_errors=True)
    (model / START).unlink(missing_ok=True)
    _copy_stages(_earlier_stages(manifest), model / PROVENANCE)
    shutil.copy(log, model / LOG)
    shutil.copy(manifest / RECIPE, model / RECIPE)
    if (manifest / START).exists():
        shutil.copy(manifest / START, model / START)


def _earlier_stages(folder: Path) -> list[Path]:
    """Return the folders with the notes of earlier stages, oldest first."""
    nested = folder / _NESTED
    stages = [*_earlier_stages(nested), nested] if _notes(nested) else []
    flat = [stage for stage in (folder / PROVENANCE).glob("*") if _notes(stage)]
    return stages + sorted(flat, key=_stage_order)


def _stage_order(stage: Path) -> tuple[float, str]:
    number = stage.name.partition("_")[0]
    return (int(number) if number.isdecimal() else math.inf), stage.name


def _copy_stages(stages: Iterable[Path], folder: Path) -> None:
    """Copy the notes of each stage into a folder of its own, numbered from 1."""
    with_notes = [stage for stage in stages if _notes(stage)]
    for number, stage in enumerate(with_notes, 1):
        # The number keeps names apart; the name is for people.
        name = re.sub(r"[^\w.-]+", "_", _recipe_name(stage))[:_MAX_NAME_LENGTH] or "unnamed"
        target = folder / f"{number}_{name}"
        target.mkdir(parents=True)
        for note in _notes(stage):
            shutil.copy(note, target)


def _notes(folder: Path) -> list[Path]:
    return [note for name in (RECIPE, LOG, START) if (note := folder / name).is_file()]


def _recipe_name(folder: Path) -> str:
    """Return the name in a folder's recipe; '' without a readable recipe or a name."""
    try:
        content = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError):
        return ""
    return str(content.get("name") or "") if isinstance(content, dict) else ""
