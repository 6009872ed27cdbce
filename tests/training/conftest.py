"""The smallest possible model from scratch, and a recipe that trains it in seconds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from streamingvlm_ros.config import PromptConfig, Settings
from streamingvlm_training import weights
from streamingvlm_training.recipe import Recipe, TrainConfig
from streamingvlm_training.sft import train
from streamingvlm_training.tiny_model import ScratchConfig
from streamingvlm_training.world_clips import ClipConfig

from .exports import captioned_bags
from .runs import CLIPS, SIZE, STREAMING, TRAINING, write_recipe


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def each_tokenizer_is_trained_once() -> Iterator[None]:
    """Training the same tokenizer again takes longer than all steps of a tiny run."""
    trained = cache(weights.world_tokenizer)

    def world_tokenizer(prompt: PromptConfig, vocabulary: int) -> PreTrainedTokenizerFast:
        return copy.deepcopy(trained(prompt, vocabulary))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "world_tokenizer", world_tokenizer)
        yield


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
def tokenizer(settings: Settings, tiny: Recipe) -> PreTrainedTokenizerFast:
    return weights.world_tokenizer(settings.prompt, tiny.model.vocabulary)


@pytest.fixture
def recipe_path(tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "tiny.yaml")


@pytest.fixture(scope="session")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bags with captions. Not to be changed."""
    return captioned_bags(tmp_path_factory.mktemp("bags"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a finished run of the tiny recipe. Not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    train(write_recipe(folder / "tiny.yaml"), folder)
    return folder


@pytest.fixture(scope="session")
def first(trained: Path) -> Path:
    """A tiny model from scratch. Not to be changed."""
    return trained / "model"
