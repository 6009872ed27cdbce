"""All settings of frames, model and prompt: the only place where their defaults stand.

The ROS parameters and the command line read names, defaults, ranges and descriptions from here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from .errors import ConfigError

PUBLISHED_MODEL = "mit-han-lab/StreamingVLM"
"""Hub id of the weights that come with the paper."""

DEMO_CHECKPOINT = Path(__file__).parent / "demo" / "checkpoint"
"""The small model that comes with this package."""


def setting(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    read_only: bool = True,
) -> Any:
    """Declare one setting: its default, what it means, its closed range or its choices.

    `read_only` settings are fixed once a node is configured.
    """
    metadata = {
        "description": description,
        "low": low,
        "high": high,
        "choices": choices,
        "read_only": read_only,
    }
    return field(default=default, metadata=metadata)


def check_ranges(config: Any) -> None:
    """Raise ConfigError for the first field of a settings dataclass of a wrong type or range."""
    for item in fields(config):
        _check_type(item.name, getattr(config, item.name), type(item.default))
        value, low, high = getattr(config, item.name), item.metadata["low"], item.metadata["high"]
        choices = item.metadata["choices"]
        if low is not None and not low <= value <= high:
            raise ConfigError(f"{item.name} must be between {low} and {high}, not {value}")
        if choices and value not in choices:
            raise ConfigError(f"{item.name} must be one of {', '.join(choices)}, not {value!r}")


def _check_type(name: str, value: Any, kind: type) -> None:
    """A whole number will do for a fraction; a truth value is no number."""
    allowed = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or isinstance(value, bool) != (kind is bool):
        raise ConfigError(f"{name} must be a {kind.__name__}, not {value!r}")


@dataclass(frozen=True)
class FrameConfig:
    """How a camera's images become chunks."""

    fps: float = setting(2.0, "Frames per second given to the model.", low=1.0, high=30.0)
    chunk_seconds: float = setting(
        1.0, "Length of one round in seconds of sensor time.", low=0.1, high=60.0
    )
    backlog_chunks: int = setting(
        2, "Complete chunks that may wait for the model; older ones are dropped.", low=1, high=60
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.fps * self.chunk_seconds < 1.0:
            raise ConfigError(
                f"a chunk of {self.chunk_seconds} s at {self.fps} fps holds no frame: raise one"
            )

    @property
    def frames_per_chunk(self) -> int:
        """Frames of a complete chunk."""
        return round(self.fps * self.chunk_seconds)

    def whole_chunks(self, length_s: float) -> int:
        """Chunks that fit into so long; by // on floats, only 119 of 0.2 s would fit into 24 s."""
        return math.floor(length_s / self.chunk_seconds + 1e-6)


@dataclass(frozen=True)
class WindowConfig:
    """What stays in the cache (arXiv 2510.09608, section 3; docs/architecture.md)."""

    vision_rounds: int = setting(16, "Newest rounds whose frames stay visible.", low=1, high=512)
    text_rounds: int = setting(
        16, "Newest rounds whose narration stays in its own turn.", low=1, high=512
    )
    text_sink: int = setting(
        512, "First tokens of the previous text, kept for ever.", low=0, high=8192
    )
    text_window: int = setting(
        512, "Newest tokens of the previous text that are kept.", low=1, high=8192
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class SamplingConfig:
    """How the next token is chosen. A temperature of 0 is greedy."""

    temperature: float = setting(
        0.9, "Sampling temperature; 0 always takes the likeliest token.", low=0.0, high=5.0,
        read_only=False,
    )  # fmt: skip
    top_k: int = setting(
        -1, "Sample among the k likeliest tokens; 0 means all, -1 what the checkpoint says, or 50 "
        "where it says nothing.",
        low=-1, high=200_000, read_only=False,
    )  # fmt: skip
    top_p: float = setting(
        0.0, "Sample among the likeliest tokens that together have this probability; 0 means "
        "what the checkpoint says.", low=0.0, high=1.0, read_only=False,
    )  # fmt: skip
    repetition_penalty: float = setting(
        1.05, "Above 1 makes tokens that are already in the context less likely.",
        low=0.5, high=5.0, read_only=False,
    )  # fmt: skip
    max_new_tokens: int = setting(20, "Most tokens of one narration.", low=1, high=512)
    seed: int = setting(0, "Seed of a stream's random numbers.", low=0, high=2**31 - 1)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class ModelConfig:
    """Which weights, where they run, and how many tokens a frame may take."""

    model: str = setting(
        "auto",
        "Checkpoint folder, hub id, 'demo' for the small model that is shipped, or 'auto': "
        f"{PUBLISHED_MODEL} where there is a GPU, else 'demo'.",
    )
    device: str = setting("auto", "Torch device; 'auto' takes cuda where there is one.")
    dtype: str = setting(
        "auto",
        "Number format of the weights; 'auto' is bfloat16 on a GPU and float32 elsewhere.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    attention: str = setting(
        "auto",
        "Attention kernels: 'varlen' (torch's FlashAttention, on a GPU in half "
        "precision), 'flash' (the same with FlashAttention 3, if installed) or 'masked' "
        "(everywhere); 'auto' takes varlen where it works.",
        choices=("auto", "varlen", "flash", "masked"),
    )
    min_frame_tokens: int = setting(
        100, "Frames are enlarged to at least this many 28x28 px tokens.", low=1, high=16384
    )
    max_frame_tokens: int = setting(
        768, "Frames are shrunk to at most this many 28x28 px tokens.", low=1, high=16384
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.min_frame_tokens > self.max_frame_tokens:
            raise ConfigError("min_frame_tokens must not be larger than max_frame_tokens")


@dataclass(frozen=True)
class PromptConfig:
    """What the model is told."""

    instruction: str = setting(
        "Describe what the robot sees.",
        "Stands in the first round only and leaves the cache with it.",
    )
    previous_text: str = setting(
        "",
        "What the model should believe was said before. Its first text_sink tokens are never "
        "forgotten: the place for the robot's mission, names and scene.",
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class AskingConfig:
    """How questions are answered."""

    max_question_tokens: int = setting(256, "Longer questions are refused.", low=1, high=4096)
    max_answer_tokens: int = setting(64, "Most tokens of one answer.", low=1, high=2048)
    questions_at_once: int = setting(
        8, "Questions that are answered side by side; further ones wait.", low=1, high=64
    )
    recent_frames: int = setting(
        4, "Newest frames that a question in mode 'recent' is answered from.", low=1, high=64
    )
    history_moments: int = setting(
        4, "Best moments that a question in mode 'history' is answered from.", low=1, high=64
    )
    question_frame_tokens: int = setting(
        1280,
        "In modes 'recent' and 'history' a frame takes at most this many 28x28 px tokens: more "
        "than max_frame_tokens lets a stream see, because there are few.",
        low=1,
        high=16384,
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Settings:
    """Everything a narrator needs to know."""

    frames: FrameConfig = field(default_factory=FrameConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    asking: AskingConfig = field(default_factory=AskingConfig)

    def flat(self) -> dict[str, Any]:
        """Every setting by its own name, without the groups (names are unique)."""
        groups = (getattr(self, group.name) for group in fields(self))
        return {item.name: getattr(group, item.name) for group in groups for item in fields(group)}

    def updated(self, changes: Mapping[str, Any]) -> Settings:
        """A copy with some settings changed, by name. ConfigError for an unknown name."""
        unknown = set(changes) - set(self.flat())
        if unknown:
            raise ConfigError(f"unknown setting: {', '.join(sorted(unknown))}")
        groups = {}
        for group in fields(self):
            value = getattr(self, group.name)
            mine = {f.name: changes[f.name] for f in fields(value) if f.name in changes}
            groups[group.name] = replace(value, **mine)
        return Settings(**groups)


CHECKPOINT_SETTINGS = "streaming.json"
"""File in a checkpoint's folder with the settings that it was trained for."""


def settings_for(checkpoint: Path | str) -> Settings:
    """The defaults, with what a checkpoint's folder says of itself laid over them.

    A hub id (text) says nothing: its files need not be here yet.

    A checkpoint trained with another window or frame size than the published one would be
    useless under the general defaults, so training writes `streaming.json` beside the weights.
    """
    if isinstance(checkpoint, str):
        return Settings()
    path = checkpoint / CHECKPOINT_SETTINGS
    if not path.is_file():
        return Settings()
    try:
        return Settings().updated(dict(json.loads(path.read_text())))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} holds no usable settings: {error}") from error
