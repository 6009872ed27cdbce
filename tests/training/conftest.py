"""A model from scratch that is as small as it gets, and a recipe that trains it in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import PreTrainedTokenizerFast

from streamingvlm_ros.config import Settings
from streamingvlm_training.progress import Progress
from streamingvlm_training.recipe import Recipe, TrainConfig
from streamingvlm_training.sft import train
from streamingvlm_training.tiny_model import ScratchConfig
from streamingvlm_training.tokenizer import train_tokenizer
from streamingvlm_training.world_clips import ClipConfig, world_texts

from ..recordings.scene import WORLD, film

ROOT = Path(__file__).parents[2]
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


BAG_SECONDS = 10


@pytest.fixture(scope="session")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bags, each with other seconds of the world and with captions. Not to be changed."""
    folder = tmp_path_factory.mktemp("bags")
    for name, begin in (("one", 0), ("two", 30), ("three", 60)):
        film(folder / name, range(begin, begin + BAG_SECONDS))
        lines = (
            {"start_s": n, "end_s": n + 1, "text": WORLD.caption(begin + n)}
            for n in range(BAG_SECONDS)
        )
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def filmed(bag: Path, seconds: range) -> Path:
    """A recording, with words beside it."""
    film(bag, seconds)
    lines = ({"start_s": n, "end_s": n + 1, "text": WORLD.caption(n)} for n in seconds)
    bag.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, lines)))
    return bag


def resumed_after_a_crash(
    path: Path,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    between: Callable[[], None] = lambda: None,
) -> Path:
    """The checkpoint of a run that crashed after two steps and was gone on with."""

    def crash(self: Progress, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 2:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_step_begin", crash)
        with pytest.raises(InterruptedError):
            train(path, output)
    between()
    return train(path, output, resume=True)


def losses(folder: Path) -> list[float]:
    """Of the steps of the run that made a checkpoint."""
    lines = (folder / "training.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def two_processes(*program: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """What torchrun and both processes of a Python program said, when all have ended."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *torchrun, "--no-python", sys.executable, *map(str, program)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
