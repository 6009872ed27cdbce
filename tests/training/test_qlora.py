"""Adapters of a start in 4 bits, and the memory that a run needs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from streamingvlm_ros.config import ModelConfig, settings_for
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import load
from streamingvlm_ros.errors import ConfigError
from streamingvlm_training import weights
from streamingvlm_training.clip_trainer import loss_positions
from streamingvlm_training.memory import clip_tokens, estimate_memory
from streamingvlm_training.packing import IGNORED
from streamingvlm_training.recipe import DataConfig, read_recipe
from streamingvlm_training.sft import main, train
from streamingvlm_training.weights import initial_model

from .runs import RECIPES, losses, resumed_after_a_crash

RANK, ALPHA = 4, 32
PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def write_recipe(
    path: Path, start: Path, *, lora: dict[str, Any] | None = None, **training: Any
) -> Path:
    content = {
        "start": str(start),
        "clips": {"rounds": 3, "side_px": 56, "question": 1.0},
        "lora": {"rank": RANK, "alpha": ALPHA, **(lora or {})},
        "training": {
            "steps": 2,
            "batch_clips": 2,
            "learning_rate": 0.01,
            "warmup_steps": 0,
            "log_every": 1,
            "save_every": 1,
            **training,
        },
    }
    path.write_text(yaml.safe_dump(content))
    return path


def adapters(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize("bfloat16", [False, True])
def test_only_the_layers_of_the_text_decoder_are_in_four_bits(
    first: Path, tmp_path: Path, bfloat16: bool
) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    path = write_recipe(tmp_path / "r.yaml", first, lora={"four_bit": True}, bfloat16=bfloat16)
    model, _ = initial_model(read_recipe(path))
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    base = model.get_base_model()
    small = {
        name: module
        for name, module in base.named_modules()
        if isinstance(module, bnb.nn.Linear4bit)
    }
    assert len(small) == 2 * len(PARTS)
    for name, module in small.items():
        assert "language_model.layers" in name
        assert module.compute_dtype == dtype
        assert module.weight.quant_state.quant_type == "nf4"
        assert module.weight.quant_state.nested
    assert type(base.lm_head) is nn.Linear
    for module in (base.lm_head, base.get_input_embeddings(), base.model.visual):
        assert {weight.dtype for weight in module.parameters()} == {dtype}


def test_adapters_trained_in_four_bits_are_merged_into_unrounded_weights(
    first: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    path = write_recipe(tmp_path / "r.yaml", first, lora={"four_bit": True})
    folder = train(path, tmp_path / "run")
    before, after = (load_file(path / "model.safetensors") for path in (first, folder))
    trained = adapters(folder)
    prefix, suffix = "base_model.model.", ".lora_A.weight"
    layers = [name[len(prefix) : -len(suffix)] for name in trained if name.endswith(suffix)]
    assert len(layers) == 2 * len(PARTS)
    for layer in layers:
        down, up = (trained[f"{prefix}{layer}.lora_{part}.weight"] for part in "AB")
        published = layer.replace("language_model.", "")
        before[f"{published}.weight"] += up @ down * ALPHA / RANK
    assert before.keys() == after.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=0, atol=1e-6)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    StreamingEngine.from_pretrained(folder, settings_for(folder))


def test_two_steps_in_four_bits_and_two_more_after_a_crash_equal_four(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    path = write_recipe(tmp_path / "r.yaml", first, lora={"four_bit": True}, steps=4)
    straight = train(path, tmp_path / "straight")
    crashed = resumed_after_a_crash(path, tmp_path / "crashed", monkeypatch=monkeypatch)
    expected, resumed = adapters(straight), adapters(crashed)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert losses(straight) == losses(crashed)


@pytest.fixture
def forward_counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Forward passes of the first layer of the text decoder and of the vision tower."""
    counts: Counter[str] = Counter()

    def load_with_hooks(*args: Any, **kwargs: Any) -> Any:
        loaded = load(*args, **kwargs)
        base = loaded.model.model
        for layer in (base.language_model.layers[0].mlp, base.visual.blocks[0].mlp):
            layer.register_forward_pre_hook(lambda mlp, *_: counts.update([type(mlp).__name__]))
        return loaded

    monkeypatch.setattr(weights, "load", load_with_hooks)
    return counts


def test_frozen_layers_are_not_computed_twice(
    first: Path, tmp_path: Path, forward_counts: Counter[str]
) -> None:
    """There is no backward pass through them either: nothing below the first adapter is trained."""
    train(write_recipe(tmp_path / "r.yaml", first, gradient_checkpointing=True), tmp_path / "run")
    assert forward_counts == {"Qwen2MLP": 2 * 2, "Qwen2_5_VLMLP": 2}


@pytest.mark.parametrize("labelled", [{(0, 3), (0, 4), (1, 8)}, {(1, 9)}, set()])
def test_logits_at_labelled_positions_alone_give_the_same_loss(
    first: Path, labelled: set[tuple[int, int]]
) -> None:
    model = load(first, ModelConfig(device="cpu", dtype="float32")).model
    ids = torch.arange(20).reshape(2, 10)
    labels = torch.full_like(ids, IGNORED)
    for position in labelled:
        labels[position] = ids[position]
    inputs = {"input_ids": ids, "labels": labels, "num_items_in_batch": torch.tensor(3)}
    expected, output = model(**inputs), model(**inputs, **loss_positions(labels))
    torch.testing.assert_close(output.loss, expected.loss)
    assert output.logits.shape[:2] == (2, len({column for _, column in labelled}))
    output.loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.lm_head.parameters())


@pytest.mark.parametrize("four_bit", [False, True])
def test_gradient_checkpointing_trains_every_adapter_alike(
    first: Path, tmp_path: Path, four_bit: bool
) -> None:
    if four_bit:
        pytest.importorskip("bitsandbytes")
    stored, recomputed = (
        adapters(
            train(
                write_recipe(
                    tmp_path / "r.yaml",
                    first,
                    lora={"four_bit": four_bit},
                    gradient_checkpointing=checkpointing,
                ),
                tmp_path / f"run-{checkpointing}",
            )
        )
        for checkpointing in (False, True)
    )
    # B is initialised with zeros, and stays so without gradients.
    assert all(weight.any() for name, weight in recomputed.items() if "lora_B" in name)
    for name, weight in stored.items():
        torch.testing.assert_close(recomputed[name], weight, rtol=0, atol=1e-6)


def test_missing_bitsandbytes_is_reported_with_the_command_that_installs_it(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "is_bitsandbytes_available", lambda: False)
    path = write_recipe(tmp_path / "r.yaml", first, lora={"four_bit": True})
    assert main([str(path), "--output", str(tmp_path / "run")]) == 1
    assert "pip install 'streamingvlm_ros[qlora]'" in capsys.readouterr().err


@pytest.mark.parametrize("sharding", ["zero3", "fsdp"])
def test_four_bits_are_rejected_with_sharded_weights(
    first: Path, tmp_path: Path, sharding: str
) -> None:
    path = write_recipe(tmp_path / "r.yaml", first, lora={"four_bit": True}, sharding=sharding)
    with pytest.raises(ConfigError, match="merging adapters needs unsharded weights"):
        read_recipe(path)


SHAPES: dict[str, Any] = {
    "model_type": "qwen2_5_vl",
    "tie_word_embeddings": False,
    "text_config": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
    },
}
"""Shapes of Qwen2.5-VL-7B, without its weights."""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("7b")
    (folder / "config.json").write_text(json.dumps(SHAPES))
    return folder


@pytest.mark.parametrize(
    ("name", "gpu_gb"),
    [("robot_lora", 80), ("robot_lora_48gb", 48), ("robot_lora_24gb", 24)],
)
def test_a_recipe_for_a_gpu_leaves_some_of_its_memory(
    shapes: Path, name: str, gpu_gb: float
) -> None:
    path = RECIPES / f"{name}.yaml"
    estimate = estimate_memory(read_recipe(path, start=str(shapes)))
    assert estimate.parameters == 8_292_166_656
    assert estimate.total_gb < 0.85 * gpu_gb
    # The recipe's comment names the estimate.
    assert f"bout {estimate.total_gb:.0f} GB" in path.read_text()


def test_recipes_for_smaller_gpus_have_as_many_clips_in_a_step() -> None:
    for name in ("robot_lora", "robot_lora_48gb", "robot_lora_24gb"):
        training = read_recipe(RECIPES / f"{name}.yaml").training
        assert training.batch_clips * training.accumulate == 16


def test_layers_in_four_bits_need_a_quarter_of_their_memory(shapes: Path, tmp_path: Path) -> None:
    """6.5 of the 8.3 billion weights of a 7B model are in its decoder's layers."""
    paths = (
        write_recipe(tmp_path / "r.yaml", shapes, bfloat16=True),
        write_recipe(tmp_path / "r4.yaml", shapes, lora={"four_bit": True}, bfloat16=True),
    )
    full, quantized = (estimate_memory(read_recipe(path)) for path in paths)
    layers = 28 * 3584 * (2 * 3584 + 2 * 512 + 3 * 18944)
    assert full.weights_gb - quantized.weights_gb == pytest.approx((2 - 0.516) * layers / 1e9)


@pytest.mark.parametrize(
    ("frame_tokens", "layers", "checkpointing", "peak_gb"),
    [(768, 1, False, 7.82), (768, 3, True, 8.40), (768, 28, True, 12.06), (100, 1, False, 2.81)],
)
def test_estimated_activations_equal_those_counted_for_a_7b_model(
    tmp_path: Path, frame_tokens: int, layers: int, checkpointing: bool, peak_gb: float
) -> None:
    """They were counted with torch's fake tensors. With small frames, logits need the most."""
    text = {**SHAPES["text_config"], "num_hidden_layers": layers}
    (tmp_path / "config.json").write_text(json.dumps({**SHAPES, "text_config": text}))
    training = {"bfloat16": True, "batch_clips": 1, "gradient_checkpointing": checkpointing}
    (tmp_path / "streaming.json").write_text(
        json.dumps({"min_frame_tokens": 4, "max_frame_tokens": frame_tokens})
    )
    recipe = read_recipe(write_recipe(tmp_path / "r.yaml", tmp_path, **training))
    recipe = replace(recipe, data=DataConfig(train=("clips.jsonl",)))
    assert clip_tokens(recipe.settings, 24.0) == 24 * (frame_tokens + 40) + 1024
    assert estimate_memory(recipe).activations_gb == pytest.approx(peak_gb, rel=0.05)


def test_activations_are_estimated_for_the_length_of_the_training_clips(
    first: Path, tmp_path: Path
) -> None:
    """Clips of the world have the recipe's rounds; recorded clips have the export's 24."""
    short = read_recipe(write_recipe(tmp_path / "r.yaml", first))
    long = replace(short, clips=replace(short.clips, rounds=24))
    recorded = replace(short, data=DataConfig(train=("clips.jsonl",)))
    assert estimate_memory(short).activations_gb < estimate_memory(long).activations_gb
    assert estimate_memory(long) == estimate_memory(recorded)


def test_packed_clips_need_logits_only_for_their_own_labels(shapes: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "r.yaml", shapes, gradient_checkpointing=True, batch_clips=8)
    small = {"min_frame_tokens": 4, "max_frame_tokens": 100}
    padded = replace(read_recipe(path), streaming=small, data=DataConfig(train=("clips.jsonl",)))
    packed = replace(padded, training=replace(padded.training, packing=True))
    assert estimate_memory(packed).activations_gb < estimate_memory(padded).activations_gb
