"""A recipe: everything that decides what a training run makes, in one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from streamingvlm_ros.config import Settings, check_ranges, setting
from streamingvlm_ros.errors import ConfigError

from .scratch import ScratchConfig
from .world_clips import ClipConfig


@dataclass(frozen=True)
class TrainConfig:
    """How long and how fast to learn. A step is one batch; the rate falls as a cosine."""

    steps: int = setting(2400, "Batches to learn from.", low=1, high=10**8)
    batch_clips: int = setting(8, "Clips of a batch.", low=1, high=4096)
    learning_rate: float = setting(
        1e-3, "AdamW's highest; Muon's is twice that.", low=0.0, high=1.0
    )
    warmup_steps: int = setting(100, "Steps until that value is reached.", low=0, high=10**6)
    weight_decay: float = setting(0.01, "Of both optimizers.", low=0.0, high=1.0)
    save_every: int = setting(250, "Steps between two states to resume from.", low=1, high=10**6)
    log_every: int = setting(10, "Steps between two lines of progress.", low=1, high=10**6)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Recipe:
    """One training run. `streaming` are the settings that the model is made to run with.

    `start` is the checkpoint's folder that a second stage goes on from; without one, a model of
    the size `model` is made from scratch.
    """

    seed: int = 0
    start: str = ""
    model: ScratchConfig = field(default_factory=ScratchConfig)
    streaming: Mapping[str, Any] = field(default_factory=dict)
    clips: ClipConfig = field(default_factory=ClipConfig)
    training: TrainConfig = field(default_factory=TrainConfig)

    @property
    def settings(self) -> Settings:
        """The defaults with `streaming` laid over them."""
        return Settings().updated(self.streaming)


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe. ConfigError says what is wrong with it."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"can't read the recipe {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no recipe: see training/recipes/demo.yaml for one")
    recipe = Recipe(**_checked(Recipe, content, str(path)))
    recipe.settings  # noqa: B018  - an unknown or impossible setting is said before training
    return recipe


_GROUPS = {"model": ScratchConfig, "clips": ClipConfig, "training": TrainConfig}


def _checked(kind: type, content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The content with its groups made. ConfigError for a name or a type that doesn't belong."""
    defaults = {item.name: getattr(kind(), item.name) for item in fields(kind)}
    unknown = set(content) - set(defaults)
    if unknown:
        raise ConfigError(f"{where}: unknown entry {', '.join(sorted(unknown))}")
    made: dict[str, Any] = {}
    for name, value in content.items():
        place = f"{where}: {name}"
        if name in _GROUPS:
            made[name] = _GROUPS[name](**_checked(_GROUPS[name], _mapping(value, place), place))
        elif name == "start":
            made[name] = str(value)
        elif name == "streaming":
            made[name] = _mapping(value, place)
        else:
            made[name] = _number(value, type(defaults[name]), place)
    return made


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{place} must hold names and values, not {value!r}")
    return value


def _number(value: Any, kind: type, place: str) -> Any:
    """An int is taken for a float; YAML reads 1e-3 as text, so numbers in text are too."""
    try:
        number = kind(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place} must be a number ({kind.__name__}), not {value!r}") from error
    if isinstance(value, bool) or (kind is int and number != float(value)):
        raise ConfigError(f"{place} must be a number ({kind.__name__}), not {value!r}")
    return number
