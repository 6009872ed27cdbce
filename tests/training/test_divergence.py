"""A run whose numbers are no longer finite: it ends with the last good state."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from streamingvlm_training.checkpoints import last_complete
from streamingvlm_training.progress import Progress
from streamingvlm_training.sft import main, train

from .launched import POISON_AT_STEP
from .runs import annotated_bag, changed_copy, losses, run_two_processes

STEPS = 4
LAUNCHED = Path(__file__).with_name("launched.py")


@pytest.fixture
def recipe_path(first: Path, tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "recipe.yaml", first)


def write_recipe(path: Path, start: Path, **content: Any) -> Path:
    training = {
        "steps": STEPS,
        "batch_clips": 1,
        "warmup_steps": 0,
        "log_every": 1,
        "save_every": 1,
        **content.pop("training", {}),
    }
    clips = {"rounds": 3, "side_px": 56}
    path.write_text(
        yaml.safe_dump({"start": str(start), "clips": clips, "training": training, **content})
    )
    return path


def strict_lines(log: Path) -> list[dict[str, Any]]:
    """Parse a log as other programs do: NaN is no JSON."""

    def reject(constant: str) -> None:
        raise AssertionError(constant)

    return [json.loads(line, parse_constant=reject) for line in log.read_text().splitlines()]


def poisoned(
    monkeypatch: pytest.MonkeyPatch, event: str, *, poison: Callable[[Any], object], step: int
) -> None:
    """Do something to the model at an event of the trainer when `step` steps are done."""

    def interrupt(self: Progress, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == step:
            poison(more["model"])

    monkeypatch.setattr(Progress, event, interrupt, raising=False)


def fill(value: float) -> Callable[[Any], object]:
    """Return a function that fills a row of the embeddings and of the output head."""

    def apply(model: Any) -> None:
        with torch.no_grad():
            for weight in (model.lm_head.weight, model.get_input_embeddings().weight):
                weight[:] = value

    return apply


def assert_ended_well(output: Path, error: str, *, last: int, message: str) -> None:
    """Assert one line of error, a strict log, and a last state of finite weights."""
    assert re.search(message, error), error
    assert error.count("error:") == 1
    assert "Traceback" not in error
    assert not (output / "model").exists()
    steps = [line["step"] for line in strict_lines(output / "training.jsonl")]
    assert steps == list(range(1, last + 1))
    state, incomplete = last_complete(output / "steps")
    assert not incomplete
    assert state
    assert state.name == f"checkpoint-{last}"
    assert f"the last good state is {state}" in error
    for path in state.glob("*.safetensors"):
        assert all(weight.isfinite().all() for weight in load_file(path).values())
    assert all("NaN" not in path.read_text() for path in state.glob("*.json"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "name",
    ["lm_head.weight", "model.layers.0.mlp.up_proj.weight", "visual.patch_embed.proj.weight"],
)
def test_a_start_with_a_weight_that_is_no_number_is_refused_before_the_first_step(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float, name: str
) -> None:
    def damage(weights: dict[str, torch.Tensor]) -> None:
        weights[name].view(-1)[-1] = value

    start = changed_copy(first, tmp_path / "start", weights=damage)
    path = write_recipe(tmp_path / "recipe.yaml", start)
    assert main([str(path), "--output", str(tmp_path / "run")]) == 1
    output = capsys.readouterr()
    assert "step 1" not in output.out
    assert f"error: the start {start} holds NaN or infinity in " in output.err
    assert name.rpartition(".")[0].rpartition(".")[2] in output.err
    assert not (tmp_path / "run" / "model").exists()


def test_adapters_of_a_damaged_start_are_refused(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = changed_copy(
        first, tmp_path / "start", weights=lambda w: w["lm_head.weight"][3].fill_(math.nan)
    )
    path = write_recipe(tmp_path / "recipe.yaml", start, lora={"rank": 2})
    assert main([str(path), "--output", str(tmp_path / "run")]) == 1
    assert "holds NaN or infinity in lm_head.weight" in capsys.readouterr().err


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
def test_a_loss_that_is_no_number_ends_the_run_and_the_good_state_can_be_resumed(
    recipe_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: float,
) -> None:
    run = tmp_path / "run"
    command = [str(recipe_path), "--output", str(run)]
    with monkeypatch.context() as patch:
        poisoned(patch, "on_step_begin", poison=fill(value), step=2)
        assert main(command) == 1
    output = capsys.readouterr()
    assert "loss 0.0000" not in output.out
    assert_ended_well(run, output.err, last=2, message=r"error: step 3: the \D+ is (nan|inf);")
    assert main([*command, "--resume"]) == 0
    assert losses(run / "model") == losses(train(recipe_path, tmp_path / "straight"))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_infinite_gradient_ends_the_run_before_it_reaches_the_weights(
    first: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    accumulate: int,
) -> None:
    path = write_recipe(tmp_path / "r.yaml", first, training={"accumulate": accumulate})
    run = tmp_path / "run"

    def overflow(model: Any) -> None:
        model.lm_head.weight.register_hook(lambda gradient: gradient + math.inf)

    poisoned(monkeypatch, "on_step_begin", poison=overflow, step=1)
    assert main([str(path), "--output", str(run)]) == 1
    message = "error: step 2: the norm of the gradients is inf"
    assert_ended_well(run, capsys.readouterr().err, last=1, message=message)


def test_a_state_with_weights_that_are_no_numbers_is_not_saved(
    recipe_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    poisoned(monkeypatch, "on_step_end", poison=fill(math.nan), step=2)
    assert main([str(recipe_path), "--output", str(run)]) == 1
    error = capsys.readouterr().err
    assert "error: step 2: the sum of the weights is nan" in error
    assert [path.name for path in (run / "steps").glob("checkpoint-*")] == ["checkpoint-1"]
    assert f"the last good state is {run / 'steps' / 'checkpoint-1'}" in error


def test_a_run_without_a_saved_state_says_so(
    first: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_recipe(tmp_path / "r.yaml", first, training={"save_every": 100})
    poisoned(monkeypatch, "on_step_begin", poison=fill(math.nan), step=0)
    assert main([str(path), "--output", str(tmp_path / "run")]) == 1
    assert "error: step 1: the loss is nan; no state was saved" in capsys.readouterr().err
    assert strict_lines(tmp_path / "run" / "training.jsonl") == []


def test_a_validation_that_is_no_number_ends_the_run_before_its_state_is_saved(
    first: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bag = str(annotated_bag(tmp_path / "bag", range(6)))
    path = write_recipe(tmp_path / "r.yaml", first, data={"train": [bag], "validation": [bag]})
    run = tmp_path / "run"

    def break_validation(model: Any) -> None:
        model.lm_head.register_forward_hook(
            lambda head, _, logits: logits if head.training else logits * math.nan
        )

    poisoned(monkeypatch, "on_step_begin", poison=break_validation, step=1)
    assert main([str(path), "--output", str(run)]) == 1
    error = capsys.readouterr().err
    assert "error: step 2: the validation loss is nan" in error
    assert f"the last good state is {run / 'steps' / 'checkpoint-1'}" in error
    lines = strict_lines(run / "training.jsonl")
    assert [line["step"] for line in lines if "validation_loss" in line] == [1]
    assert not (run / "model").exists()


def test_a_resumed_run_drops_lines_of_its_log_that_are_no_json(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older versions wrote NaN."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        poisoned(patch, "on_step_begin", poison=fill(math.nan), step=2)
        main([str(recipe_path), "--output", str(run)])
    with (run / "training.jsonl").open("a") as log:
        log.write('{"step": 2, "validation_loss": NaN}\n{"step": Infinity}\n')
    train(recipe_path, run, resume=True)
    steps = [line["step"] for line in strict_lines(run / "model" / "training.jsonl")]
    assert steps == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_loss_that_is_no_number_in_one_of_two_processes_ends_both(
    recipe_path: Path, tmp_path: Path
) -> None:
    command = (LAUNCHED, recipe_path, "--output", tmp_path / "run")
    ended = run_two_processes(*command, **{POISON_AT_STEP: "3"})
    assert ended.returncode == 1
    assert ended.stderr.count("error: step 3: the loss is nan; the last good state is") == 2
    state, _ = last_complete(tmp_path / "run" / "steps")
    assert state
    assert state.name == "checkpoint-2"
    assert len(strict_lines(tmp_path / "run" / "training.jsonl")) == 2
    resumed = run_two_processes(*command, "--resume")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert len(losses(tmp_path / "run" / "model")) == STEPS
