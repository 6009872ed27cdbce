"""A model from scratch that is as small as it gets, and a recipe that trains it in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import PreTrainedTokenizerFast

from streamingvlm_ros.config import Settings
from training.recipe import Recipe, TrainConfig
from training.scratch import ScratchConfig
from training.tokenizer import train_tokenizer
from training.world_clips import ClipConfig, world_texts

STREAMING = {
    "vision_rounds": 4,
    "text_rounds": 4,
    "text_sink": 10,
    "text_window": 16,
    "min_frame_tokens": 4,
    "max_frame_tokens": 4,
    "temperature": 0.0,
    "repetition_penalty": 1.0,
}
SIZE: dict[str, Any] = {
    "hidden": 64,
    "layers": 2,
    "intermediate": 64,
    "vision_hidden": 32,
    "vision_layers": 1,
    "vision_intermediate": 32,
}
CLIPS: dict[str, Any] = {"rounds": 3, "side_px": 56, "question": 1.0}
TRAINING: dict[str, Any] = {
    "optimizer": "muon",
    "steps": 2,
    "batch_clips": 2,
    "warmup_steps": 0,
    "log_every": 1,
    "save_every": 1,
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    return Recipe(
        model=ScratchConfig(**SIZE),
        streaming=STREAMING,
        clips=ClipConfig(**CLIPS),
        training=TrainConfig(**TRAINING),
    )


@pytest.fixture(scope="session")
def settings(tiny: Recipe) -> Settings:
    return tiny.settings


@pytest.fixture(scope="session")
def tokenizer(settings: Settings) -> PreTrainedTokenizerFast:
    return train_tokenizer(world_texts(settings.prompt), 512)


@pytest.fixture
def recipe_path(tmp_path: Path) -> Path:
    content = {"model": SIZE, "streaming": STREAMING, "clips": CLIPS, "training": TRAINING}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
