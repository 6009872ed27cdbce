"""Settings of a narrator: frames, model, window, sampling, prompt and questions.

Each is declared here once (see `setting`). Parameters of nodes, command-line options, recipes and
streaming.json are derived from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .errors import ConfigError
from .setting import brief, located, setting, settings_group, settings_of, unknown_setting

PUBLISHED_MODEL = "mit-han-lab/StreamingVLM"
"""Hub id of the weights that come with the paper."""

DEMO_CHECKPOINT = Path(__file__).parent / "demo" / "checkpoint"
"""Folder of the included small model."""


@settings_group
class FrameConfig:
    """Settings for cutting a camera's images into chunks."""

    fps: float = setting(2.0, "Frames per second that the model sees.", low=1.0, high=30.0)
    chunk_seconds: float = setting(
        1.0, "Length of a round in seconds of sensor time.", low=0.1, high=60.0
    )
    backlog_chunks: int = setting(
        2,
        "Number of complete chunks that may wait for the model. When more wait, the oldest is "
        "dropped.",
        low=1,
        high=60,
    )
    hold_last_frame: float = setting(
        10.0,
        "Seconds for which a picture of a video file is narrated while it stands still. 0 means "
        "that each picture is seen once. Cameras and bags don't use it.",
        low=0.0,
        high=3600.0,
    )

    def __post_init__(self) -> None:
        if self.fps * self.chunk_seconds < 1.0:
            raise ConfigError(
                f"a chunk of {self.chunk_seconds} s at {self.fps} fps has no frame; raise "
                "chunk_seconds or fps"
            )

    @property
    def frames_per_chunk(self) -> int:
        """Number of frames in a complete chunk."""
        return round(self.fps * self.chunk_seconds)

    def whole_chunks(self, length_s: float) -> int:
        """Return the number of complete chunks in `length_s` seconds.

        A plain // on floats would fit only 119 chunks of 0.2 s into 24 s.
        """
        return math.floor(length_s / self.chunk_seconds + 1e-6)


@settings_group
class WindowConfig:
    """Limits on what stays in the cache (arXiv 2510.09608, section 3; docs/architecture.md)."""

    vision_rounds: int = setting(
        16, "Number of newest rounds whose frames stay in the cache.", low=1, high=512
    )
    text_rounds: int = setting(
        16,
        "Number of newest rounds whose narration stays in its own turn. Older narration moves to "
        "the previous text.",
        low=1,
        high=512,
    )
    text_sink: int = setting(
        512, "Number of tokens at the start of the previous text that never leave the cache.",
        low=0, high=8192,
    )  # fmt: skip
    text_window: int = setting(
        512, "Number of newest tokens of the previous text that stay in the cache.",
        low=1, high=8192,
    )  # fmt: skip


@settings_group
class SamplingConfig:
    """Settings for choosing the next token."""

    temperature: float = setting(
        0.9,
        "Sampling temperature. 0 means greedy: always the most likely token.",
        low=0.0,
        high=5.0,
        read_only=False,
    )
    top_k: int = setting(
        -1,
        "Number of most likely tokens to sample from. 0 means all; -1 means the checkpoint's own "
        "value, or 50 if it has none.",
        low=-1,
        high=200_000,
        read_only=False,
    )
    top_p: float = setting(
        0.0,
        "Total probability of the most likely tokens to sample from. 0 means the checkpoint's own "
        "value.",
        low=0.0,
        high=1.0,
        read_only=False,
    )
    repetition_penalty: float = setting(
        1.05,
        "Penalty on tokens that are already in the context. 1 means none; above 1 makes them less "
        "likely.",
        low=0.5,
        high=5.0,
        read_only=False,
    )
    max_new_tokens: int = setting(20, "Maximum length of one narration in tokens.", low=1, high=512)
    seed: int = setting(0, "Seed of a stream's random numbers.", low=0, high=2**31 - 1)


@settings_group
class ModelConfig:
    """Settings of the model: its weights, where they run, and the size of its frames."""

    model: str = setting(
        "auto",
        "Checkpoint folder or Hub id. 'demo' means the included small model; 'auto' means "
        f"{PUBLISHED_MODEL} with a GPU, else 'demo'.",
    )
    device: str = setting(
        "auto", "Torch device, such as 'cuda:0' or 'cpu'. 'auto' means the GPU if there is one."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto", "Data type of the weights. 'auto' means bfloat16 on a GPU, else float32."
    )
    attention: Literal["auto", "varlen", "flash", "masked"] = setting(
        "auto",
        "Attention kernels. 'varlen' is torch's FlashAttention and needs a GPU and half precision; "
        "'flash' is FlashAttention 3, if installed; 'masked' works everywhere; 'auto' means varlen "
        "where it works, else masked.",
    )
    min_frame_tokens: int = setting(
        100,
        "Minimum size of a frame in tokens of 28x28 px. Smaller frames are enlarged.",
        low=1,
        high=16384,
    )
    max_frame_tokens: int = setting(
        768,
        "Maximum size of a frame in tokens of 28x28 px. Larger frames are shrunk.",
        low=1,
        high=16384,
    )

    def __post_init__(self) -> None:
        if self.min_frame_tokens > self.max_frame_tokens:
            raise ConfigError(
                f"min_frame_tokens ({self.min_frame_tokens}) must not be larger than "
                f"max_frame_tokens ({self.max_frame_tokens})"
            )


@settings_group
class PromptConfig:
    """Texts at the start of the model's context."""

    instruction: str = setting(
        "Describe what the robot sees.",
        "Instruction in the first round, at most 4,096 tokens. It leaves the cache together with "
        "that round.",
    )
    previous_text: str = setting(
        "",
        "Text that the model takes for its earlier narration. Its first text_sink tokens stay in "
        "the cache for ever: the place for the robot's mission, names and surroundings. Empty "
        "means none.",
    )

    def __post_init__(self) -> None:
        for name, text in vars(self).items():
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise ConfigError(f"{name} is no valid Unicode text: it holds surrogates")


@settings_group
class AskingConfig:
    """Settings for answering questions."""

    max_question_tokens: int = setting(
        256, "Maximum length of a question in tokens. Longer questions are refused.",
        low=1, high=4096,
    )  # fmt: skip
    max_answer_tokens: int = setting(64, "Maximum length of an answer in tokens.", low=1, high=2048)
    questions_at_once: int = setting(
        8, "Number of questions that are answered at the same time. Further ones wait.",
        low=1, high=64,
    )  # fmt: skip
    recent_frames: int = setting(
        4, "Number of newest frames that answer a question in mode 'recent'.", low=1, high=64
    )
    history_moments: int = setting(
        4, "Number of best-matching moments that answer a question in mode 'history'.",
        low=1, high=64,
    )  # fmt: skip
    question_frame_tokens: int = setting(
        1280,
        "Maximum size of a frame, in tokens of 28x28 px, for questions in modes 'recent' and "
        "'history'. It may exceed max_frame_tokens, because such questions have few frames.",
        low=1,
        high=16384,
    )


@dataclass(frozen=True)
class Settings:
    """All settings of a narrator, in groups. Names are unique across the groups."""

    frames: FrameConfig = field(default_factory=FrameConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    asking: AskingConfig = field(default_factory=AskingConfig)

    def flat(self) -> dict[str, Any]:
        """Return all values by name, without the groups."""
        return {name: value for group in vars(self).values() for name, value in vars(group).items()}

    def updated(self, changes: Mapping[str, Any]) -> Settings:
        """Return a copy with some settings changed, by name.

        Raises:
            ConfigError: Names are unknown or values are wrong. All of them are listed.
        """
        names = settings_of(Settings)
        groups, problems = vars(self).copy(), []
        for key, group in vars(self).items():
            values = {name: changes[name] for name in settings_of(type(group)) if name in changes}
            try:
                groups[key] = replace(group, **values)
            except ConfigError as error:
                problems.append(str(error))
        problems += [unknown_setting(name, names) for name in changes if name not in names]
        if problems:
            raise ConfigError("; ".join(problems))
        return Settings(**groups)


CHECKPOINT_SETTINGS = "streaming.json"
"""File in a checkpoint's folder with the settings that it was trained for."""


def settings_for(checkpoint: Path) -> Settings:
    """Return the defaults, updated from the checkpoint folder's `streaming.json` if it has one.

    Training writes that file: a checkpoint trained with another window or frame size than the
    published one would be useless with the general defaults.

    Raises:
        ConfigError: The file can't be read, is not JSON, or a setting in it is unknown or wrong.
    """
    path = checkpoint / CHECKPOINT_SETTINGS
    if not path.exists():
        return Settings()
    try:
        changes = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(changes, dict):
        raise ConfigError(f"{path} must hold a JSON object of settings, not {brief(changes)}")
    with located(path):
        return Settings().updated(changes)
