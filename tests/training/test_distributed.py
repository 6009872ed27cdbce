"""Two processes learn what one would, however the weights are spread, and survive a kill.

They are real ones, of torchrun, and talk through gloo. What they run is launched.py.
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
from streamingvlm_ros.engine.qwen2_5.checkpoint import load
from streamingvlm_training.checkpoints import TRAINER_STATE_NAME
from streamingvlm_training.recipe import read_recipe
from streamingvlm_training.sft import train
from streamingvlm_training.world_clips import WorldClips

from .conftest import CLIPS, SIZE, STREAMING, TRAINING, filmed, losses, two_processes
from .launched import KILLED_AT

STEPS = 4
NEEDS_DEEPSPEED = pytest.mark.skipif(not find_spec("deepspeed"), reason="DeepSpeed isn't installed")
SHARDINGS = [
    pytest.param("", id="each-has-all"),
    pytest.param("zero2", marks=NEEDS_DEEPSPEED),
    pytest.param("zero3", marks=NEEDS_DEEPSPEED),
    "fsdp",
]
OWN_SHARE = {"": (1.0, 2.0), "zero2": (1.0, 1.0), "zero3": (0.5, 1.0), "fsdp": (0.5, 1.0)}
"""Of all weights: those in one of two processes, and AdamW's two moments of each learnt there."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to go on from, so that all begin with the same weights."""
    folder = tmp_path_factory.mktemp("start")
    content = {"model": SIZE, "streaming": STREAMING, "clips": CLIPS, "training": TRAINING}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return train(folder / "recipe.yaml", folder)


@pytest.fixture(scope="module")
def alone(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process learns that adds up two batches for every step."""
    folder = tmp_path_factory.mktemp("alone")
    return train(recipe(folder, start, accumulate=2), folder)


def recipe(folder: Path, start: Path, **training: Any) -> Path:
    """A step of it has two batches of one clip, in one process or in two."""
    given = {"steps": STEPS, "batch_clips": 1, "warmup_steps": 0, "learning_rate": 0.003}
    content = {
        "start": str(start),
        "clips": {**CLIPS, "told": 0.4},
        "training": {**given, "log_every": 1, "save_every": 2, **training},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def learnt_by_two(path: Path, *options: str, **environment: str) -> CompletedProcess[str]:
    """What both processes said that ran a recipe, when they have ended."""
    launched = Path(__file__).with_name("launched.py")
    return two_processes(launched, path, "--output", path.parent, *options, **environment)


def assert_same(folder: Path, alone: Path) -> None:
    """The same losses, and a complete checkpoint with the same weights."""
    assert len(losses(alone)) == STEPS
    print(f"alone {losses(alone)}\n  two {losses(folder)}")
    assert losses(folder) == pytest.approx(losses(alone), rel=1e-4)
    weights, expected = (load_file(its / "model.safetensors") for its in (folder, alone))
    assert weights.keys() == expected.keys()
    assert max((weights[name] - its).abs().max() for name, its in expected.items()) < 1e-4
    assert {its.name for its in folder.iterdir()} == {its.name for its in alone.iterdir()}
    load(folder, settings_for(folder).model)


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_two_processes_learn_what_one_does_and_share_the_memory(
    start: Path, alone: Path, tmp_path: Path, sharding: str
) -> None:
    ended = learnt_by_two(recipe(tmp_path, start, sharding=sharding))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert_same(tmp_path / "model", alone)
    assert ended.stdout.count("step 1/4") == ended.stdout.count("checkpoint in") == 1
    whole = sum(its.numel() for its in load_file(alone / "model.safetensors").values())
    weights, moments = OWN_SHARE[sharding]
    for number in range(2):
        held = json.loads((tmp_path / f"held-{number}.json").read_text())
        assert held["weights"] == pytest.approx(weights * whole, rel=0.01)
        assert held["optimizer"] == pytest.approx(moments * whole, rel=0.01)


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_a_run_of_which_one_process_was_killed_goes_on_as_if_it_had_not(
    start: Path, alone: Path, tmp_path: Path, sharding: str
) -> None:
    # Computing activations twice changes no number, and each way to shard has its own way to.
    path = recipe(tmp_path, start, sharding=sharding, gradient_checkpointing=True)
    killed = learnt_by_two(path, **{KILLED_AT: "3"})
    assert killed.returncode != 0
    assert "SIGKILL" in killed.stderr
    states = (tmp_path / "steps").glob(f"*/{TRAINER_STATE_NAME}")
    assert [its.parent.name for its in states] == ["checkpoint-2"]
    assert not (tmp_path / "model").exists()
    resumed = learnt_by_two(path, "--resume")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert "step 2/4" not in resumed.stdout
    assert_same(tmp_path / "model", alone)


def test_one_of_two_processes_had_a_batch_without_frames(start: Path, tmp_path: Path) -> None:
    """Or the tests above wouldn't show that the others don't wait for it forever."""
    its = read_recipe(recipe(tmp_path, start))
    clips = WorldClips(2 * STEPS, its.seed, its.clips, its.settings)
    seeing = [any(round.images for round in clips[n].rounds) for n in range(2 * STEPS)]
    assert any(first != second for first, second in zip(seeing[::2], seeing[1::2], strict=True))


def test_two_processes_measure_the_validation_loss_that_one_does(
    start: Path, tmp_path: Path
) -> None:
    bags = [str(filmed(tmp_path / f"bag-{n}", range(n))) for n in (4, 9, 6, 12)]
    told = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = recipe(tmp_path / name, start, steps=1, save_every=1, learning_rate=0.0)
        data = {"data": {"train": bags[:2], "validation": bags}}
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **data}))
        if name == "one":
            train(path, path.parent)
        else:
            ended = learnt_by_two(path)
            assert ended.returncode == 0, ended.stderr[-3000:]
        lines = (path.parent / "training.jsonl").read_text().splitlines()
        told.append([its for line in lines if (its := json.loads(line).get("validation_loss"))])
    assert len(told[0]) == 1
    assert told[1] == pytest.approx(told[0], rel=1e-5)
