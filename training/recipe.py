"""A recipe: all settings of a training run, in one YAML file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from streamingvlm_ros.config import Settings, settings_for
from streamingvlm_ros.engine.model import checkpoint_settings, resolve
from streamingvlm_ros.errors import ConfigError, ModelError
from streamingvlm_ros.setting import (
    brief,
    located,
    sections_of,
    setting,
    settings_group,
    settings_of,
)

from .tiny_model import ScratchConfig
from .world_clips import ClipConfig

log = logging.getLogger(__name__)


@settings_group
class TrainConfig:
    """Settings of a training run's length, speed and memory.

    A step learns from `batch_clips` x `accumulate` clips on each device. The learning rate falls
    as a cosine.
    """

    steps: int = setting(2400, "Number of training steps.", low=1, high=10**8)
    epochs: float = setting(
        0.0,
        "Number of passes over the recorded clips. 0 means that steps sets the length.",
        low=0.0,
        high=1000.0,
    )
    batch_clips: int = setting(8, "Number of clips in a batch, on each device.", low=1, high=4096)
    packing: bool = setting(
        False,
        "Pack the clips of a batch one after another into one row, instead of padding a row for "
        "each.",
    )
    accumulate: int = setting(
        1, "Number of batches whose gradients are added up for one step.", low=1, high=4096
    )
    optimizer: Literal["adamw", "muon"] = setting(
        "adamw",
        "Optimizer. 'muon' applies Muon to the matrices of the layers, AdamW to everything else.",
    )
    learning_rate: float = setting(
        1e-3, "Peak learning rate of AdamW. Muon's is twice as high.", low=0.0, high=1.0
    )
    warmup_steps: float = setting(
        100.0,
        "Number of steps until the peak learning rate. Below 1 it means a share of all steps.",
        low=0.0,
        high=1e6,
    )
    weight_decay: float = setting(0.01, "Weight decay of all optimizers.", low=0.0, high=1.0)
    freeze_vision: bool = setting(False, "Leave the vision tower unchanged.")
    bfloat16: bool = setting(False, "Compute in bfloat16. Needs a GPU that supports it.")
    gradient_checkpointing: bool = setting(
        False,
        "Compute activations twice instead of storing them. A step takes a third longer and needs "
        "far less memory.",
    )
    sharding: Literal["", "zero2", "zero3", "fsdp"] = setting(
        "",
        "How training state is split across processes: 'zero2' and 'zero3' by DeepSpeed, 'fsdp' by "
        "torch. Empty means that each process holds all of it.",
    )
    save_every: int = setting(
        250,
        "Steps between two saved states to resume from, and between two validation losses.",
        low=1,
        high=10**6,
    )
    log_every: int = setting(10, "Steps between two lines of progress.", low=1, high=10**6)


@settings_group
class DataConfig:
    """Recorded clips to learn from.

    A path is a file of conversations, a bag, a video, or a folder of those.
    """

    train: tuple[str, ...] = setting((), "Paths to learn from.")
    validation: tuple[str, ...] = setting(
        (), "Paths to measure the validation loss on. Empty means no validation."
    )
    videos: str = setting(
        "",
        "Folder with the videos that files of conversations name. Empty means the folder of each "
        "file.",
    )
    topic: str = setting("", "Image topic of bags with several cameras. Empty means the only one.")


@settings_group
class LoraConfig:
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) instead of all weights."""

    rank: int = setting(16, "Rank of the adapters. A higher rank can learn more.", low=1, high=1024)
    alpha: int = setting(
        32, "Scale of the adapters: their output counts alpha / rank.", low=1, high=4096
    )
    dropout: float = setting(
        0.0, "Share of the adapters' input that is dropped at random.", low=0.0, high=0.9
    )
    vision: bool = setting(False, "Add adapters to the vision tower.")
    head: bool = setting(
        False,
        "Add an adapter to the output head, for words that the model has hardly ever produced.",
    )
    four_bit: bool = setting(
        False,
        "Hold the text decoder's layers in 4 bits while adapters are trained (QLoRA, Dettmers et "
        "al. 2023, arXiv 2305.14314). The adapters are then merged into the unrounded weights.",
    )


@settings_group
class Recipe:
    """One training run.

    `streaming` holds the settings that the model is trained to run with, by name. `model` is used
    only without `start`, `clips` (of the synthetic world) only without `data`. With `lora` only
    adapters are trained.
    """

    name: str = setting("", "Name of the recipe, stored with the weights.")
    after: str = setting(
        "", "Name of the recipe that must have made the start model. Empty means any model."
    )
    seed: int = setting(
        0, "Seed of the run's random numbers.", low=0, high=2**32 - 1
    )  # numpy's range
    start: str = setting(
        "",
        "Model to start from: a checkpoint folder, a Hub id, 'demo' or 'auto'. Empty means a new "
        "model with random weights.",
    )
    model: ScratchConfig = field(default_factory=ScratchConfig)
    streaming: Mapping[str, Any] = field(default_factory=dict)
    clips: ClipConfig = field(default_factory=ClipConfig)
    data: DataConfig | None = None
    lora: LoraConfig | None = None
    training: TrainConfig = field(default_factory=TrainConfig)

    @property
    def settings(self) -> Settings:
        """Settings of the start model, updated with `streaming`."""
        base = _settings_of(self.start) if self.start else Settings()
        with located("streaming"):
            return base.updated(self.streaming)


def _settings_of(start: str) -> Settings:
    checkpoint = resolve(start)
    return _hub_settings(checkpoint) if isinstance(checkpoint, str) else settings_for(checkpoint)


@cache
def _hub_settings(hub_id: str) -> Settings:
    """Return a start's settings; the general ones if it is neither in the cache nor in reach.

    Data can be prepared without a network: only training itself needs the model.
    """
    try:
        return checkpoint_settings(hub_id)
    except ModelError as error:
        log.warning("the general settings are used: %s", error)
        return Settings()


def read_recipe(path: Path, start: str | None = None) -> Recipe:
    """Read and check a recipe. `start` takes precedence over the recipe's own.

    Raises:
        ConfigError: The file can't be read, or holds an unknown, wrong or contradictory setting.
        ModelError: The start model doesn't exist.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the recipe {path}: {error.strerror}") from error
    # A ValueError is text that is not UTF-8, or a date that no calendar has.
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no recipe: see training/recipes/demo.yaml for one")
    with located(path):
        recipe = Recipe(**_values(Recipe, content, section="a recipe"))
        if start is not None:
            recipe = replace(recipe, start=start)
        recipe.settings  # noqa: B018  - raises before training starts
        _check_together(recipe)
    return recipe


def _check_together(recipe: Recipe) -> None:
    """Raise ConfigError if sections contradict each other."""
    training = recipe.training
    if recipe.data and not recipe.data.train:
        raise ConfigError("data: train names no files to learn from")
    if training.epochs and not recipe.data:
        raise ConfigError(
            "training: epochs needs data; the synthetic world has no end, so use steps"
        )
    if recipe.lora and not recipe.start:
        raise ConfigError("lora needs a model to adapt; set start")
    if recipe.lora and training.optimizer != "adamw":
        raise ConfigError("lora needs optimizer: adamw; Muon trains full matrices, not adapters")
    if training.sharding and training.optimizer != "adamw":
        raise ConfigError(
            f"sharding: {training.sharding} needs optimizer: adamw; Muon needs unsharded matrices"
        )
    if recipe.lora and training.sharding in ("zero3", "fsdp"):
        raise ConfigError(
            f"lora: merging adapters needs unsharded weights, and sharding: {training.sharding} "
            "splits them; use zero2, or no sharding"
        )


_OPTIONAL = ("data", "lora")
"""Sections whose presence alone has a meaning: leaving one blank is ambiguous."""


def _values(group: type, content: Any, *, section: str) -> dict[str, Any]:
    """Return a section's values without blank ones, which mean the default."""
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise ConfigError(f"{section} must hold names and values, not {brief(content)}")
    settings = settings_of(group)
    sections = sections_of(group)
    if group is Recipe:
        sections["streaming"] = Settings
    values: dict[str, Any] = {}
    for name, value in content.items():
        if value is None and name in {*settings, *sections} - {*_OPTIONAL}:
            continue
        if name in sections:
            values[name] = _values(sections[name], value, section=name)
        else:
            values[name] = settings[name].from_yaml(value) if name in settings else value
    return values
