"""A model adapted to recordings: adapters, stages, and checks before training."""

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
from streamingvlm_training.memory import MemoryEstimate, estimate_memory
from streamingvlm_training.recipe import read_recipe
from streamingvlm_training.sft import main, train
from streamingvlm_training.weights import initial_model

from .recordings import load
from .runs import RECIPES, annotated_bag, losses


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return annotated_bag(tmp_path_factory.mktemp("bags") / "world", range(12))


def unreadable_clips(folder: Path) -> str:
    """Write a file of one clip whose video doesn't exist."""
    clip = [
        {"content": [{"video": "missing.mp4", "video_start": 0, "video_end": 4}, {"text": ""}]},
        {"content": [{"text_stream": [[0, 1, "word"]]}]},
    ]
    (folder / "missing.jsonl").write_text(json.dumps(clip) + "\n")
    return str(folder / "missing.jsonl")


def write_recipe(folder: Path, **content: Any) -> Path:
    training = {"batch_clips": 1, "log_every": 1, "warmup_steps": 0, "learning_rate": 0.01}
    content["training"] = {**training, **content.get("training", {})}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def adapt(folder: Path, first: Path, *, bag: Path, **content: Any) -> Path:
    default = {"start": str(first), "data": {"train": [str(bag)]}, "training": {"steps": 2}}
    return train(write_recipe(folder, **{**default, **content}), folder / "run")


def changed_weights(before: Path, after: Path) -> set[str]:
    one, other = (load_file(folder / "model.safetensors") for folder in (before, after))
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}


def test_adapters_change_only_the_text_layers_and_are_merged(
    first: Path, bag: Path, tmp_path: Path
) -> None:
    folder = adapt(tmp_path, first, bag=bag, lora={"rank": 4})
    names = changed_weights(first, folder)
    assert names
    assert all("proj" in name and "visual" not in name for name in names)
    assert (folder / "adapter" / "adapter_model.safetensors").exists()
    stream = StreamingEngine.from_pretrained(folder, settings_for(folder)).open_stream()
    image = World(0).frame(0.5, 56, 56)
    frames = (Frame(image, 0), Frame(image, NS_PER_S // 2))
    assert stream.step(Chunk(frames, 0, NS_PER_S)).tokens > 0


def test_a_merged_model_has_the_logits_of_the_adapted_one(
    first: Path, bag: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import Qwen2_5_VLForConditionalGeneration

    folder = adapt(tmp_path, first, bag=bag, lora={"rank": 4, "vision": True, "head": True})
    names = changed_weights(first, folder)
    assert any("visual" in name for name in names)
    assert "lm_head.weight" in names
    load = Qwen2_5_VLForConditionalGeneration.from_pretrained
    adapted = PeftModel.from_pretrained(load(first), str(folder / "adapter"))
    ids = torch.arange(9)[None]
    with torch.inference_mode():
        difference = (adapted(input_ids=ids).logits - load(folder)(input_ids=ids).logits).abs()
    assert difference.max() < 1e-4


def test_a_frozen_vision_tower_does_not_change(first: Path, bag: Path, tmp_path: Path) -> None:
    folder = adapt(tmp_path, first, bag=bag, training={"steps": 2, "freeze_vision": True})
    names = changed_weights(first, folder)
    assert names
    assert not any("visual" in name for name in names)


def test_a_checkpoint_inherits_the_settings_of_its_start(
    first: Path, bag: Path, tmp_path: Path
) -> None:
    folder = adapt(tmp_path, first, bag=bag, streaming={"max_new_tokens": 7})
    settings = settings_for(folder)
    assert settings.window.text_sink == settings_for(first).window.text_sink == 10
    assert settings.sampling.max_new_tokens == 7


def test_an_epoch_uses_every_clip_once_and_validation_follows_each_save(
    first: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"train": [str(bag)], "validation": [str(bag)]}
    training = {"epochs": 2, "save_every": 1}
    folder = adapt(tmp_path, first, bag=bag, data=data, training=training)
    log = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == [1, 2]
    assert [line["step"] for line in log if "validation_loss" in line] == [1, 2]
    assert "validation loss" in capsys.readouterr().out


def test_unreadable_clips_are_listed_and_have_no_loss(
    first: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"train": [str(bag), unreadable_clips(tmp_path)]}
    folder = adapt(tmp_path, first, bag=bag, data=data, training={"steps": 4})
    assert sorted(loss == 0 for loss in losses(folder)) == [False, False, True, True]
    (skipped,) = (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()
    assert "there is no video missing.mp4" in skipped
    *_, progress, last = capsys.readouterr().out.splitlines()
    assert progress.startswith("step 4/4")
    assert progress.endswith("left, 1 clip skipped: see skipped.jsonl")
    assert last == "1 clip skipped: see skipped.jsonl"


@pytest.mark.parametrize("name", ["train", "validation"])
def test_training_stops_if_no_clip_can_be_read(
    first: Path, bag: Path, tmp_path: Path, name: str
) -> None:
    data = {"train": [str(bag)], name: [unreadable_clips(tmp_path)]}
    with pytest.raises(DataError, match=r"none of 1 clips .* there is no video missing\.mp4"):
        adapt(tmp_path, first, bag=bag, data=data)
    assert not (tmp_path / "run" / "model").exists()


def test_the_validation_loss_is_the_mean_of_all_tokens_in_any_batches(
    first: Path, bag: Path, tmp_path: Path
) -> None:
    """A short clip weighs less than a long one, and an unreadable one nothing."""
    short = annotated_bag(tmp_path / "short", range(4))
    readable = [str(bag), str(short)]
    unreadable = [unreadable_clips(tmp_path)]
    validations = [(readable, 2), (readable, 1), (readable + unreadable, 1)]
    validation_losses = []
    for number, (validation, batch_clips) in enumerate(validations):
        folder = tmp_path / str(number)
        folder.mkdir()
        data = {"train": [str(bag)], "validation": validation}
        training = {"steps": 1, "save_every": 1, "batch_clips": batch_clips, "learning_rate": 0.0}
        log = adapt(folder, first, bag=bag, data=data, training=training) / "training.jsonl"
        lines = map(json.loads, log.read_text().splitlines())
        validation_losses.append(
            [line["validation_loss"] for line in lines if "validation_loss" in line]
        )
    one_batch, two_batches, with_unreadable = validation_losses
    assert one_batch == pytest.approx(two_batches, rel=1e-5)
    assert with_unreadable == two_batches


def test_a_stage_accepts_only_the_stage_before_as_start_unless_any_start_is_given(
    first: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content: dict[str, Any] = {"data": {"train": [str(bag)]}, "training": {"steps": 1}}
    path = write_recipe(tmp_path, name="stage2", after="stage1", start=str(first), **content)
    assert main([str(path), "--output", str(tmp_path / "a")]) == 1
    assert "was not made by the recipe 'stage1'" in capsys.readouterr().err
    assert main([str(path), "--output", str(tmp_path / "a"), "--any-start"]) == 0
    other = write_recipe(tmp_path, name="stage1", start=str(first), **content)
    stage1 = train(other, tmp_path / "b")
    path = write_recipe(tmp_path, name="stage2", after="stage1", start="nowhere/at/all", **content)
    assert main([str(path), "--output", str(tmp_path / "c"), "--start", str(stage1)]) == 0
    start = json.loads((tmp_path / "c" / "model" / "start.json").read_text())
    assert len(start["sha256"]) == 64


def test_memory_is_estimated_from_the_recipe(first: Path, bag: Path, tmp_path: Path) -> None:
    content: dict[str, Any] = {"start": str(first), "data": {"train": [str(bag)]}}
    full_recipe = read_recipe(write_recipe(tmp_path, **content))
    model, _ = initial_model(full_recipe)
    full = estimate_memory(full_recipe)
    assert full.parameters == full.trainable == sum(w.numel() for w in model.parameters())
    assert full.weights_gb == pytest.approx(4e-9 * full.parameters)
    adapters = estimate_memory(read_recipe(write_recipe(tmp_path, **content, lora={"rank": 4})))
    assert adapters.trainable < full.trainable / 4
    assert adapters.optimizer_gb == pytest.approx(8e-9 * adapters.trainable)
    checkpointing = {"gradient_checkpointing": True}
    lean = estimate_memory(read_recipe(write_recipe(tmp_path, **content, training=checkpointing)))
    assert lean.activations_gb < full.activations_gb
    assert str(lean).startswith("memory: about ")


def test_memory_with_sharding_is_estimated_per_device(first: Path, tmp_path: Path) -> None:
    def estimate(sharding: str) -> MemoryEstimate:
        path = write_recipe(tmp_path, start=str(first), training={"sharding": sharding})
        return estimate_memory(read_recipe(path), 8)

    full, zero2, zero3, fsdp = map(estimate, ("", "zero2", "zero3", "fsdp"))
    assert zero2.weights_gb == full.weights_gb
    assert zero3.weights_gb == fsdp.weights_gb == full.weights_gb / 8
    for sharded in (zero2, zero3, fsdp):
        assert sharded.gradients_gb == full.gradients_gb / 8
        assert sharded.optimizer_gb == full.optimizer_gb / 8
        assert sharded.activations_gb == full.activations_gb


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_can_be_read_and_is_named_like_its_file(path: Path) -> None:
    assert read_recipe(path, start="demo").name == path.stem


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
def test_a_contradictory_recipe_is_rejected(
    tmp_path: Path, content: dict[str, Any], why: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=why):
        read_recipe(path)


@pytest.mark.parametrize("name", ["robot_lora", "robot_lora_48gb", "robot_lora_24gb"])
def test_recordings_are_checked_for_the_published_model_without_its_weights_or_a_network(
    bag: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """The model is the same with and without a GPU."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    path = RECIPES / f"{name}.yaml"
    recipe = read_recipe(path)
    assert recipe.start == PUBLISHED_MODEL
    assert recipe.settings == Settings().updated(recipe.streaming)
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        annotated = load(bag, recipe.settings.frames)
        clips = cut(annotated, CutConfig(), settings=recipe.settings)
        write_conversations(
            tmp_path / "data" / f"{split}.jsonl", [line_of(clip, tmp_path) for clip in clips]
        )
    prepare.main([str(path)])
    out = capsys.readouterr().out
    assert "instruction: Describe what the robot sees." in out
    assert "left out" not in out
    assert main([str(path), "--output", str(tmp_path / "run")]) == 1
    assert f"error: can't read a model at {PUBLISHED_MODEL}: " in capsys.readouterr().err


def test_missing_data_is_reported_before_a_model_is_loaded(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, start="demo", data={"train": [str(tmp_path / "missing.jsonl")]})
    with pytest.raises(DataError, match=r"missing\.jsonl doesn't exist; paths are relative"):
        train(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ModelError, match="no model at"):
        read_recipe(path, start="./nowhere")
