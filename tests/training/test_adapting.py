"""A model adapted to recordings: adapters, stages, what is checked before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import constants
from safetensors.torch import load_file

from streamingvlm_ros.config import PUBLISHED_MODEL, Settings, settings_for
from streamingvlm_ros.demo.world import World
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.errors import ConfigError, DataError, ModelError
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame
from streamingvlm_training import prepare
from streamingvlm_training.datasets.conversations import line_of, write_conversations
from streamingvlm_training.datasets.cutting import CutConfig, cut
from streamingvlm_training.memory import estimate
from streamingvlm_training.recipe import read_recipe
from streamingvlm_training.sft import main, train
from streamingvlm_training.weights import beginning

from .conftest import filmed, losses
from .recordings import load

RECIPES = Path(__file__).parents[2] / "training" / "recipes"


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filmed(tmp_path_factory.mktemp("bags") / "world", range(12))


def unreadable_clips(folder: Path) -> str:
    """A file of one clip, whose video isn't there."""
    clip = [
        {"content": [{"video": "gone.mp4", "video_start": 0, "video_end": 4}, {"text": ""}]},
        {"content": [{"text_stream": [[0, 1, "word"]]}]},
    ]
    (folder / "gone.jsonl").write_text(json.dumps(clip) + "\n")
    return str(folder / "gone.jsonl")


@pytest.fixture
def first(recipe_path: Path, tmp_path: Path) -> Path:
    """A model from scratch."""
    return train(recipe_path, tmp_path / "first")


def recipe(folder: Path, **content: Any) -> Path:
    training = {"batch_clips": 1, "log_every": 1, "warmup_steps": 0, "learning_rate": 0.01}
    content["training"] = {**training, **content.get("training", {})}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def adapt(folder: Path, first: Path, bag: Path, **content: Any) -> Path:
    given = {"start": str(first), "data": {"train": [str(bag)]}, "training": {"steps": 2}}
    return train(recipe(folder, **{**given, **content}), folder / "run")


def changed(before: Path, after: Path) -> set[str]:
    one, other = (load_file(folder / "model.safetensors") for folder in (before, after))
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}


def test_adapters_change_the_text_layers_alone_and_are_merged(
    first: Path, bag: Path, tmp_path: Path
) -> None:
    folder = adapt(tmp_path, first, bag, lora={"rank": 4})
    names = changed(first, folder)
    assert names
    assert all("proj" in its and "visual" not in its for its in names)
    assert (folder / "adapter" / "adapter_model.safetensors").exists()
    stream = StreamingEngine.from_pretrained(folder, settings_for(folder)).open_stream()
    image = World(0).frame(0.5, 56, 56)
    frames = (Frame(image, 0), Frame(image, NS_PER_S // 2))
    assert stream.step(Chunk(frames, 0, NS_PER_S)).tokens > 0


def test_a_merged_model_says_what_the_adapted_one_did(
    first: Path, bag: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import Qwen2_5_VLForConditionalGeneration

    folder = adapt(tmp_path, first, bag, lora={"rank": 4, "vision": True, "head": True})
    names = changed(first, folder)
    assert any("visual" in its for its in names)
    assert "lm_head.weight" in names
    load = Qwen2_5_VLForConditionalGeneration.from_pretrained
    adapted = PeftModel.from_pretrained(load(first), str(folder / "adapter"))
    ids = torch.arange(9)[None]
    with torch.inference_mode():
        difference = (adapted(input_ids=ids).logits - load(folder)(input_ids=ids).logits).abs()
    assert difference.max() < 1e-4


def test_a_frozen_vision_tower_stays_as_it_is(first: Path, bag: Path, tmp_path: Path) -> None:
    folder = adapt(tmp_path, first, bag, training={"steps": 2, "freeze_vision": True})
    names = changed(first, folder)
    assert names
    assert not any("visual" in its for its in names)


def test_what_a_model_runs_with_is_handed_on(first: Path, bag: Path, tmp_path: Path) -> None:
    folder = adapt(tmp_path, first, bag, streaming={"max_new_tokens": 7})
    its = settings_for(folder)
    assert its.window.text_sink == settings_for(first).window.text_sink == 10
    assert its.sampling.max_new_tokens == 7


def test_an_epoch_sees_every_clip_once_and_measures_what_it_did_not_learn(
    first: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"train": [str(bag)], "validation": [str(bag)]}
    training = {"epochs": 2, "save_every": 1}
    folder = adapt(tmp_path, first, bag, data=data, training=training)
    log = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    assert [its["step"] for its in log if "loss" in its] == [1, 2]
    assert [its["step"] for its in log if "validation_loss" in its] == [1, 2]
    assert "validation loss" in capsys.readouterr().out


def test_clips_that_cannot_be_read_are_listed_and_nothing_is_learnt_of_them(
    first: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"train": [str(bag), unreadable_clips(tmp_path)]}
    folder = adapt(tmp_path, first, bag, data=data, training={"steps": 4})
    assert sorted(loss == 0 for loss in losses(folder)) == [False, False, True, True]
    (skipped,) = (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()
    assert "there is no video gone.mp4" in skipped
    *_, progress, last = capsys.readouterr().out.splitlines()
    assert progress.startswith("step 4/4")
    assert progress.endswith("left, 1 clip skipped: see skipped.jsonl")
    assert last == "1 clip skipped: see skipped.jsonl"


@pytest.mark.parametrize("name", ["train", "validation"])
def test_nothing_is_learnt_where_no_clip_can_be_read(
    first: Path, bag: Path, tmp_path: Path, name: str
) -> None:
    data = {"train": [str(bag)], name: [unreadable_clips(tmp_path)]}
    with pytest.raises(DataError, match=r"none of 1 clips .* there is no video gone\.mp4"):
        adapt(tmp_path, first, bag, data=data)
    assert not (tmp_path / "run" / "model").exists()


def test_the_validation_loss_is_that_of_all_tokens_however_clips_are_batched(
    first: Path, bag: Path, tmp_path: Path
) -> None:
    """A short clip doesn't count as a long one, and one that can't be read counts nothing."""
    short = filmed(tmp_path / "short", range(4))
    readable = [str(bag), str(short)]
    unreadable = [unreadable_clips(tmp_path)]
    validations = [(readable, 2), (readable, 1), (readable + unreadable, 1)]
    told = []
    for number, (validation, batch_clips) in enumerate(validations):
        folder = tmp_path / str(number)
        folder.mkdir()
        data = {"train": [str(bag)], "validation": validation}
        training = {"steps": 1, "save_every": 1, "batch_clips": batch_clips, "learning_rate": 0.0}
        log = adapt(folder, first, bag, data=data, training=training) / "training.jsonl"
        lines = map(json.loads, log.read_text().splitlines())
        told.append([its["validation_loss"] for its in lines if "validation_loss" in its])
    together, alone, with_unreadable = told
    assert together == pytest.approx(alone, rel=1e-5)
    assert with_unreadable == alone


def test_a_stage_goes_on_from_the_one_before_unless_told_otherwise(
    first: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {"data": {"train": [str(bag)]}, "training": {"steps": 1}}
    path = recipe(tmp_path, name="stage2", after="stage1", start=str(first), **given)
    assert main([str(path), "--output", str(tmp_path / "a")]) == 1
    assert "was not made by the recipe 'stage1'" in capsys.readouterr().err
    assert main([str(path), "--output", str(tmp_path / "a"), "--any-start"]) == 0
    other = recipe(tmp_path, name="stage1", start=str(first), **given)
    stage1 = train(other, tmp_path / "b")
    path = recipe(tmp_path, name="stage2", after="stage1", start="nowhere/at/all", **given)
    assert main([str(path), "--output", str(tmp_path / "c"), "--start", str(stage1)]) == 0
    noted = json.loads((tmp_path / "c" / "model" / "start.json").read_text())
    assert len(noted["sha256"]) == 64


def test_the_memory_that_is_needed_is_told_before(first: Path, bag: Path, tmp_path: Path) -> None:
    given = {"start": str(first), "data": {"train": [str(bag)]}}
    whole = read_recipe(recipe(tmp_path, **given))
    model, _ = beginning(whole)
    told = estimate(whole)
    assert told.parameters == told.learnt == sum(its.numel() for its in model.parameters())
    assert told.weights_gb == pytest.approx(4e-9 * told.parameters)
    small = estimate(read_recipe(recipe(tmp_path, **given, lora={"rank": 4})))
    assert small.learnt < told.learnt / 4
    assert small.optimizer_gb == pytest.approx(8e-9 * small.learnt)
    checkpointing = {"gradient_checkpointing": True}
    lean = estimate(read_recipe(recipe(tmp_path, **given, training=checkpointing)))
    assert lean.activations_gb < told.activations_gb
    assert str(lean).startswith("memory: about ")


def test_the_memory_of_sharded_weights_is_told_for_each_device(first: Path, tmp_path: Path) -> None:
    its, zero2, zero3, fsdp = (
        estimate(read_recipe(recipe(tmp_path, start=str(first), training={"sharding": name})), 8)
        for name in ("", "zero2", "zero3", "fsdp")
    )
    assert zero2.weights_gb == its.weights_gb
    assert zero3.weights_gb == fsdp.weights_gb == its.weights_gb / 8
    for sharded in (zero2, zero3, fsdp):
        assert sharded.gradients_gb == its.gradients_gb / 8
        assert sharded.optimizer_gb == its.optimizer_gb / 8
        assert sharded.activations_gb == its.activations_gb


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda its: its.stem)
def test_every_recipe_that_is_shipped_can_be_read_and_bears_its_name(path: Path) -> None:
    its = read_recipe(path, start="demo")
    assert its.name == path.stem


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"data": {"train": []}}, "names no files to learn from"),
        ({"data": {"train": "a.jsonl"}}, "must be a list"),
        ({"training": {"epochs": 1}}, "the synthetic world has no end"),
        ({"lora": {"rank": 8}}, "lora needs a model to adapt; set start"),
        ({"training": {"bfloat16": 1}}, "bfloat16 must be"),
        ({"training": {"optimizer": "sgd"}}, "optimizer"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(
    tmp_path: Path, content: dict[str, Any], why: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=why):
        read_recipe(path)


@pytest.mark.parametrize("name", ["robot_lora", "robot_lora_48gb", "robot_lora_24gb"])
def test_a_robots_footage_is_checked_for_the_published_model_without_it_or_a_network(
    bag: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """Whether there is a GPU makes no other model of it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    path = RECIPES / f"{name}.yaml"
    its = read_recipe(path)
    assert its.start == PUBLISHED_MODEL
    assert its.settings == Settings().updated(its.streaming)
    (tmp_path / "data").mkdir()
    for side in ("train", "validation"):
        clips = cut(load(bag, its.settings.frames), CutConfig(), settings=its.settings)
        write_conversations(
            tmp_path / "data" / f"{side}.jsonl", [line_of(clip, tmp_path) for clip in clips]
        )
    prepare.main([str(path)])
    out = capsys.readouterr().out
    assert "instruction: Describe what the robot sees." in out
    assert "left out" not in out
    assert main([str(path), "--output", str(tmp_path / "run")]) == 1
    assert f"error: can't read a model at {PUBLISHED_MODEL}: " in capsys.readouterr().err


def test_data_that_is_not_there_is_said_before_a_model_is_loaded(tmp_path: Path) -> None:
    path = recipe(tmp_path, start="demo", data={"train": [str(tmp_path / "gone.jsonl")]})
    with pytest.raises(DataError, match=r"gone\.jsonl is not there; paths are relative"):
        train(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ModelError, match="no model at"):
        read_recipe(path, start="./nowhere")
