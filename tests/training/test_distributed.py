"""Two processes train like one, with any sharding, and a run resumes after one is killed.

They are started by torchrun, connected through gloo, and run launched.py.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from streamingvlm_ros.config import settings_for
from streamingvlm_ros.engine.model import load
from streamingvlm_training.checkpoints import TRAINER_STATE_NAME
from streamingvlm_training.recipe import read_recipe
from streamingvlm_training.sft import train
from streamingvlm_training.world_clips import WorldClips

from .launched import KILL_AT_STEP
from .runs import CLIPS, annotated_bag, losses, run_two_processes

STEPS = 4
NEEDS_DEEPSPEED = pytest.mark.skipif(not find_spec("deepspeed"), reason="DeepSpeed isn't installed")
SHARDINGS = [
    pytest.param("", id="each-has-all"),
    pytest.param("zero2", marks=NEEDS_DEEPSPEED),
    pytest.param("zero3", marks=NEEDS_DEEPSPEED),
    "fsdp",
]
SHARES = {"": (1.0, 2.0), "zero2": (1.0, 1.0), "zero3": (0.5, 1.0), "fsdp": (0.5, 1.0)}
"""Share of all weights in one of two processes, and of AdamW's moments, two for each weight."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of one process that accumulates two batches for every step."""
    folder = tmp_path_factory.mktemp("alone")
    return train(write_recipe(folder, first, accumulate=2), folder)


def write_recipe(folder: Path, start: Path, **training: Any) -> Path:
    """Write a recipe whose steps have one batch of one clip in each process."""
    default = {"steps": STEPS, "batch_clips": 1, "warmup_steps": 0, "learning_rate": 0.003}
    content = {
        "start": str(start),
        "clips": {**CLIPS, "told": 0.4},
        "training": {**default, "log_every": 1, "save_every": 2, **training},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def train_with_two(path: Path, *options: str, **environment: str) -> CompletedProcess[str]:
    """Run a recipe in two processes, to their end."""
    launched = Path(__file__).with_name("launched.py")
    return run_two_processes(launched, path, "--output", path.parent, *options, **environment)


def assert_same(folder: Path, alone: Path) -> None:
    """Assert that losses and weights are the same, and the checkpoint is complete."""
    assert len(losses(alone)) == STEPS
    print(f"alone {losses(alone)}\n  two {losses(folder)}")
    assert losses(folder) == pytest.approx(losses(alone), rel=1e-4)
    weights, expected = (load_file(path / "model.safetensors") for path in (folder, alone))
    assert weights.keys() == expected.keys()
    assert max((weights[name] - weight).abs().max() for name, weight in expected.items()) < 1e-4
    assert {path.name for path in folder.iterdir()} == {path.name for path in alone.iterdir()}
    load(folder, settings_for(folder).model)


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_two_processes_have_the_losses_of_one_and_share_the_memory(
    first: Path, alone: Path, tmp_path: Path, sharding: str
) -> None:
    ended = train_with_two(write_recipe(tmp_path, first, sharding=sharding))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert_same(tmp_path / "model", alone)
    assert ended.stdout.count("step 1/4") == ended.stdout.count("checkpoint in") == 1
    total = sum(weight.numel() for weight in load_file(alone / "model.safetensors").values())
    weights, moments = SHARES[sharding]
    for number in range(2):
        sizes = json.loads((tmp_path / f"sizes-{number}.json").read_text())
        assert sizes["weights"] == pytest.approx(weights * total, rel=0.01)
        assert sizes["optimizer"] == pytest.approx(moments * total, rel=0.01)


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_a_run_resumes_after_one_of_its_processes_was_killed(
    first: Path, alone: Path, tmp_path: Path, sharding: str
) -> None:
    # Gradient checkpointing changes no result; each kind of sharding has its own.
    path = write_recipe(tmp_path, first, sharding=sharding, gradient_checkpointing=True)
    killed = train_with_two(path, **{KILL_AT_STEP: "3"})
    assert killed.returncode != 0
    assert "SIGKILL" in killed.stderr
    checkpoints = (tmp_path / "steps").glob(f"*/{TRAINER_STATE_NAME}")
    assert [path.parent.name for path in checkpoints] == ["checkpoint-2"]
    assert not (tmp_path / "model").exists()
    resumed = train_with_two(path, "--resume")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert "step 2/4" not in resumed.stdout
    assert_same(tmp_path / "model", alone)


def test_in_some_steps_only_one_of_two_processes_has_frames(first: Path, tmp_path: Path) -> None:
    """Processes would wait for each other forever if one could skip the vision tower."""
    recipe = read_recipe(write_recipe(tmp_path, first))
    clips = WorldClips(2 * STEPS, recipe.seed, clips=recipe.clips, settings=recipe.settings)
    frames = [any(round.images for round in clips[n].rounds) for n in range(2 * STEPS)]
    assert any(one != other for one, other in zip(frames[::2], frames[1::2], strict=True))


def test_two_processes_measure_the_validation_loss_of_one(first: Path, tmp_path: Path) -> None:
    bags = [str(annotated_bag(tmp_path / f"bag-{n}", range(n))) for n in (4, 9, 6, 12)]
    validation_losses = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = write_recipe(tmp_path / name, first, steps=1, save_every=1, learning_rate=0.0)
        data = {"data": {"train": bags[:2], "validation": bags}}
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **data}))
        if name == "one":
            train(path, path.parent)
        else:
            ended = train_with_two(path)
            assert ended.returncode == 0, ended.stderr[-3000:]
        lines = (path.parent / "training.jsonl").read_text().splitlines()
        values = (json.loads(line).get("validation_loss") for line in lines)
        validation_losses.append([value for value in values if value])
    one, two = validation_losses
    assert len(one) == 1
    assert two == pytest.approx(one, rel=1e-5)
