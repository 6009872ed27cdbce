"""A recipe: everything that decides what a training run makes, in one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from streamingvlm_ros.config import Settings, check_ranges, setting, settings_for
from streamingvlm_ros.engine.qwen2_5.checkpoint import resolve
from streamingvlm_ros.errors import ConfigError

from .tiny_model import ScratchConfig
from .world_clips import ClipConfig


@dataclass(frozen=True)
class TrainConfig:
    """How long and how fast to learn. A step is one batch; the rate falls as a cosine."""

    steps: int = setting(2400, "Batches to learn from.", low=1, high=10**8)
    epochs: float = setting(
        0.0, "How often every recorded clip is seen; 0 leaves it to `steps`.", low=0.0, high=1000.0
    )
    batch_clips: int = setting(8, "Clips of a batch, on each device.", low=1, high=4096)
    packing: bool = setting(
        False, "Clips of a batch stand one after another in a row, not each in a padded one."
    )
    accumulate: int = setting(1, "Batches that make one step.", low=1, high=4096)
    optimizer: str = setting(
        "adamw", "adamw, or muon for the matrices of the layers.", choices=("adamw", "muon")
    )
    learning_rate: float = setting(
        1e-3, "AdamW's highest; Muon's is twice that.", low=0.0, high=1.0
    )
    warmup_steps: float = setting(
        100.0, "Steps until that value is reached; below 1, their share.", low=0.0, high=1e6
    )
    weight_decay: float = setting(0.01, "Of both optimizers.", low=0.0, high=1.0)
    freeze_vision: bool = setting(False, "The vision tower stays as it is.")
    bfloat16: bool = setting(False, "Compute in bfloat16, on a GPU that can.")
    gradient_checkpointing: bool = setting(
        False, "Compute activations twice instead of keeping them: a third slower, far smaller."
    )
    sharding: str = setting(
        "",
        "How weights are spread over the processes: zero2, zero3 (DeepSpeed), fsdp; empty: each "
        "has all.",
        choices=("", "zero2", "zero3", "fsdp"),
    )
    save_every: int = setting(
        250,
        "Steps between two states to resume from, and between two validation losses.",
        low=1,
        high=10**6,
    )
    log_every: int = setting(10, "Steps between two lines of progress.", low=1, high=10**6)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class DataConfig:
    """Recorded clips to learn from: files of conversations, bags, videos, or folders of those."""

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    videos: str = ""
    """Folder below which the files' videos are; '' is where each file lies."""
    topic: str = ""
    """Image topic of bags with several cameras; '' is the only one."""


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) instead of all weights."""

    rank: int = setting(16, "Of the adapters: how much can be learnt.", low=1, high=1024)
    alpha: int = setting(32, "Adapters count alpha / rank.", low=1, high=4096)
    dropout: float = setting(0.0, "Share of their input that is left out.", low=0.0, high=0.9)
    vision: bool = setting(False, "Adapters in the vision tower, too.")
    head: bool = setting(
        False, "An adapter of the output head, too: for words that the model hardly ever said."
    )
    four_bit: bool = setting(
        False,
        "The text decoder's own layers in 4 bits while adapters are learnt (QLoRA, Dettmers et al. "
        "2023, arXiv 2305.14314); they are merged into the whole ones.",
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Recipe:
    """One training run. `streaming` are the settings that the model is made to run with.

    `name` is kept with the weights; `after` is the name of the recipe that must have made `start`.
    `start` is what is gone on from: a checkpoint's folder, a hub id, 'demo' or 'auto'; without one,
    a model of the size `model` is made from scratch. With `data` it learns from recordings, else
    from `clips` of the synthetic world. With `lora` only adapters are learnt.
    """

    name: str = ""
    after: str = ""
    seed: int = 0
    start: str = ""
    model: ScratchConfig = field(default_factory=ScratchConfig)
    streaming: Mapping[str, Any] = field(default_factory=dict)
    clips: ClipConfig = field(default_factory=ClipConfig)
    data: DataConfig | None = None
    lora: LoraConfig | None = None
    training: TrainConfig = field(default_factory=TrainConfig)

    @property
    def settings(self) -> Settings:
        """What `start` was made to run with, with `streaming` laid over it."""
        own = settings_for(resolve(self.start)) if self.start else Settings()
        return own.updated(self.streaming)


def read_recipe(path: Path, start: str | None = None) -> Recipe:
    """Read and check a recipe. `start` goes before its own. ConfigError says what is wrong.

    ModelError if `start` is not there.
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
    recipe = Recipe(**_checked(Recipe, _mapping(content, str(path)), str(path)))
    if start is not None:
        recipe = replace(recipe, start=start)
    recipe.settings  # noqa: B018  - an unknown or impossible setting is said before training
    _check(recipe)
    return recipe


def _check(recipe: Recipe) -> None:
    if not 0 <= recipe.seed < _SEEDS:
        raise ConfigError(f"seed must be between 0 and {_SEEDS - 1}, not {recipe.seed}")
    if recipe.data and not recipe.data.train:
        raise ConfigError("data: train names no files to learn from")
    if recipe.training.epochs and not recipe.data:
        raise ConfigError("training: epochs is of recorded clips; the world has no end: use steps")
    if recipe.lora and not recipe.start:
        raise ConfigError("lora adapts a model: `start` must say which")
    if recipe.lora and recipe.training.optimizer != "adamw":
        raise ConfigError("lora needs optimizer: adamw; Muon is for whole matrices, not adapters")
    sharding = recipe.training.sharding
    if sharding and recipe.training.optimizer != "adamw":
        raise ConfigError(f"sharding: {sharding} needs optimizer: adamw; Muon needs whole matrices")
    if recipe.lora and sharding in ("zero3", "fsdp"):
        raise ConfigError(
            f"lora: adapters are merged into whole weights, which {sharding} has nowhere: take "
            "zero2, or no sharding"
        )


_SEEDS = 2**32
"""As many as numpy has."""

_GROUPS = {
    "model": ScratchConfig,
    "clips": ClipConfig,
    "data": DataConfig,
    "lora": LoraConfig,
    "training": TrainConfig,
}
_STREAMING = Settings().flat()


def _checked(kind: type, content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The content with its groups made. ConfigError for a name or a type that doesn't belong.

    What is left blank is as if it weren't there; but nobody can tell whether a blank `lora` or
    `data` is meant.
    """
    defaults = {item.name: getattr(kind(), item.name) for item in fields(kind)}
    unknown = set(content) - set(defaults)
    if unknown:
        raise ConfigError(f"{where}: unknown entry {', '.join(sorted(unknown))}")
    made: dict[str, Any] = {}
    for name, value in content.items():
        place = f"{where}: {name}"
        if value is None and defaults[name] is not None:
            continue
        if name in _GROUPS:
            made[name] = _GROUPS[name](**_checked(_GROUPS[name], _mapping(value, place), place))
        elif name == "streaming":
            given = _mapping(value, place)
            made[name] = {key: _streamed(key, its) for key, its in given.items() if its is not None}
        else:
            made[name] = _value(value, type(defaults[name]), place)
    return made


def _value(value: Any, kind: type, place: str) -> Any:
    if kind is str:
        return _text(value, place)
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{place} must be true or false, not {value!r}")
        return value
    if kind is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{place} must be a list, not {value!r}")
        return tuple(_text(item, f"{place}[{n}]") for n, item in enumerate(value))
    return _number(value, kind, place)


def _text(value: Any, place: str) -> str:
    """YAML takes off for false and 12 for a number, unless they are in quotes."""
    if not isinstance(value, str):
        raise ConfigError(f"{place} must be text, in quotes if need be, not {value!r}")
    return value


def _streamed(name: str, value: Any) -> Any:
    """A setting that the model runs with; it says itself what is wrong with others than 1e-1."""
    if isinstance(value, str) and isinstance(_STREAMING.get(name), float):
        with suppress(ValueError):
            return float(value)
    return value


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{place} must hold names and values, not {value!r}")
    return value


def _number(value: Any, kind: type, place: str) -> Any:
    """An int is taken for a float; YAML reads 1e-3 as text, so numbers in text are too."""
    try:
        number = kind(value)
        whole = kind is not int or number == float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{place} must be a number ({kind.__name__}), not {value!r}") from error
    if isinstance(value, bool) or not whole:
        raise ConfigError(f"{place} must be a number ({kind.__name__}), not {value!r}")
    return number
