"""Training runs of a tiny model: recipe sections, runs that crash, runs of two processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from streamingvlm_training.progress import Progress
from streamingvlm_training.sft import train

from ..support.world_bags import WORLD, film

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "training" / "recipes"
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


def write_recipe(path: Path) -> Path:
    """Write the recipe of a tiny model from scratch."""
    content = {"model": SIZE, "streaming": STREAMING, "clips": CLIPS, "training": TRAINING}
    path.write_text(yaml.safe_dump(content))
    return path


def annotated_bag(bag: Path, seconds: range) -> Path:
    """Record a bag of the world, with captions beside it."""
    film(bag, seconds)
    lines = ({"start_s": n, "end_s": n + 1, "text": WORLD.caption(n)} for n in seconds)
    bag.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, lines)))
    return bag


def resumed_after_a_crash(
    recipe: Path,
    output: Path,
    *,
    monkeypatch: pytest.MonkeyPatch,
    before_resuming: Callable[[], None] = lambda: None,
) -> Path:
    """Return the checkpoint of a run that crashed after two steps and was resumed."""

    def crash(self: Progress, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 2:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_step_begin", crash)
        with pytest.raises(InterruptedError):
            train(recipe, output)
    before_resuming()
    return train(recipe, output, resume=True)


def changed_copy(
    model: Path,
    folder: Path,
    *,
    weights: Callable[[dict[str, Tensor]], object] = lambda weights: None,
    config: Callable[[dict[str, Any]], object] = lambda config: None,
) -> Path:
    """Copy a model, and change the weights and the configuration of the copy."""
    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    weights(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    content = json.loads((folder / "config.json").read_text())
    config(content)
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def losses(folder: Path) -> list[float]:
    """Return the loss of each step of the run that made a checkpoint."""
    lines = (folder / "training.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def run_two_processes(*program: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program in two processes of torchrun, to their end."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *torchrun, "--no-python", sys.executable, *map(str, program)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
