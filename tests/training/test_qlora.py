"""Adapters of a start in 4 bits, and what a run needs of a card."""

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
from streamingvlm_ros.engine.qwen2_5.checkpoint import load
from streamingvlm_ros.errors import ConfigError
from streamingvlm_training import weights
from streamingvlm_training.memory import clip_tokens, estimate
from streamingvlm_training.packing import IGNORED
from streamingvlm_training.recipe import DataConfig, Recipe, read_recipe
from streamingvlm_training.sft import main, train
from streamingvlm_training.trainer import only_learnt
from streamingvlm_training.weights import beginning

from .conftest import losses, resumed_after_a_crash

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
RANK, ALPHA = 4, 32
PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, tiny: Recipe) -> Path:
    """A model from scratch, in float32."""
    folder = tmp_path_factory.mktemp("first")
    model, tokenizer = beginning(tiny)
    weights.save(tiny, model, tokenizer, folder)
    return folder


def recipe(path: Path, first: Path, lora: dict[str, Any], **training: Any) -> Path:
    content = {
        "start": str(first),
        "clips": {"rounds": 3, "side_px": 56, "question": 1.0},
        "lora": {"rank": RANK, "alpha": ALPHA, **lora},
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
    path = recipe(tmp_path / "r.yaml", first, {"four_bit": True}, bfloat16=bfloat16)
    model, _ = beginning(read_recipe(path))
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    base = model.get_base_model()
    small = {name: its for name, its in base.named_modules() if isinstance(its, bnb.nn.Linear4bit)}
    assert len(small) == 2 * len(PARTS)
    for name, its in small.items():
        assert "language_model.layers" in name
        assert its.compute_dtype == dtype
        assert its.weight.quant_state.quant_type == "nf4"
        assert its.weight.quant_state.nested
    assert type(base.lm_head) is nn.Linear
    for its in (base.lm_head, base.get_input_embeddings(), base.model.visual):
        assert {weight.dtype for weight in its.parameters()} == {dtype}


def test_what_was_learnt_in_four_bits_is_merged_into_weights_that_were_never_rounded(
    first: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    folder = train(recipe(tmp_path / "r.yaml", first, {"four_bit": True}), tmp_path / "run")
    before, after = (load_file(its / "model.safetensors") for its in (first, folder))
    learnt = adapters(folder)
    prefix, suffix = "base_model.model.", ".lora_A.weight"
    places = [name[len(prefix) : -len(suffix)] for name in learnt if name.endswith(suffix)]
    assert len(places) == 2 * len(PARTS)
    for place in places:
        down, up = (learnt[f"{prefix}{place}.lora_{part}.weight"] for part in "AB")
        published = place.replace("language_model.", "")
        before[f"{published}.weight"] += up @ down * ALPHA / RANK
    assert before.keys() == after.keys()
    for name, its in before.items():
        torch.testing.assert_close(after[name], its, rtol=0, atol=1e-6)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    StreamingEngine.from_pretrained(folder, settings_for(folder))


def test_two_steps_in_four_bits_and_two_more_after_a_crash_equal_four(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    path = recipe(tmp_path / "r.yaml", first, {"four_bit": True}, steps=4)
    straight = train(path, tmp_path / "straight")
    resumed = resumed_after_a_crash(path, tmp_path / "crashed", monkeypatch)
    expected, its = adapters(straight), adapters(resumed)
    assert expected.keys() == its.keys()
    assert all(torch.equal(expected[name], its[name]) for name in expected)
    assert losses(straight) == losses(resumed)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the first layer of the text decoder and of the vision tower was computed."""
    counted: Counter[str] = Counter()

    def counting(*given: Any) -> Any:
        its = load(*given)
        base = its.model.model
        for part in (base.language_model.layers[0].mlp, base.visual.blocks[0].mlp):
            part.register_forward_pre_hook(lambda its, *_: counted.update([type(its).__name__]))
        return its

    monkeypatch.setattr(weights, "load", counting)
    return counted


def test_what_is_frozen_is_not_computed_twice(
    first: Path, tmp_path: Path, runs: Counter[str]
) -> None:
    """Nor walked back through: nothing below the first adapter learns."""
    train(recipe(tmp_path / "r.yaml", first, {}, gradient_checkpointing=True), tmp_path / "run")
    assert runs == {"Qwen2MLP": 2 * 2, "Qwen2_5_VLMLP": 2}


@pytest.mark.parametrize("said", [{(0, 3), (0, 4), (1, 8)}, {(1, 9)}, set()])
def test_logits_are_made_only_where_something_is_said_and_the_loss_is_that_of_all(
    first: Path, said: set[tuple[int, int]]
) -> None:
    model = load(first, ModelConfig(device="cpu", dtype="float32")).model
    ids = torch.arange(20).reshape(2, 10)
    labels = torch.full_like(ids, IGNORED)
    for place in said:
        labels[place] = ids[place]
    given = {"input_ids": ids, "labels": labels, "num_items_in_batch": torch.tensor(3)}
    expected, its = model(**given), model(**given, **only_learnt(labels))
    torch.testing.assert_close(its.loss, expected.loss)
    assert its.logits.shape[:2] == (2, len({column for _, column in said}))
    its.loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.lm_head.parameters())


@pytest.mark.parametrize("four_bit", [False, True])
def test_every_adapter_learns_the_same_whether_activations_are_kept_or_computed_twice(
    first: Path, tmp_path: Path, four_bit: bool
) -> None:
    if four_bit:
        pytest.importorskip("bitsandbytes")
    kept, twice = (
        adapters(
            train(
                recipe(
                    tmp_path / "r.yaml",
                    first,
                    {"four_bit": four_bit},
                    gradient_checkpointing=checkpointing,
                ),
                tmp_path / f"run-{checkpointing}",
            )
        )
        for checkpointing in (False, True)
    )
    # B begins with zeros: what got no gradient still is.
    assert all(its.any() for name, its in twice.items() if "lora_B" in name)
    for name, its in kept.items():
        torch.testing.assert_close(twice[name], its, rtol=0, atol=1e-6)


def test_without_bitsandbytes_it_is_said_what_to_install(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "is_bitsandbytes_available", lambda: False)
    path = recipe(tmp_path / "r.yaml", first, {"four_bit": True})
    assert main([str(path), "--output", str(tmp_path / "run")]) == 1
    assert "pip install 'streamingvlm_ros[qlora]'" in capsys.readouterr().err


@pytest.mark.parametrize("sharding", ["zero3", "fsdp"])
def test_four_bits_are_refused_where_weights_are_spread(
    first: Path, tmp_path: Path, sharding: str
) -> None:
    path = recipe(tmp_path / "r.yaml", first, {"four_bit": True}, sharding=sharding)
    with pytest.raises(ConfigError, match="adapters are merged into whole weights"):
        read_recipe(path)


# Qwen2.5-VL-7B's, without its weights.
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


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("7b")
    (folder / "config.json").write_text(json.dumps(SHAPES))
    return folder


@pytest.mark.parametrize(
    ("name", "card_gb"),
    [("robot_lora", 80), ("robot_lora_48gb", 48), ("robot_lora_24gb", 24)],
)
def test_a_recipe_for_a_card_leaves_some_of_its_memory(
    shapes: Path, name: str, card_gb: float
) -> None:
    path = RECIPES / f"{name}.yaml"
    its = estimate(read_recipe(path, start=str(shapes)))
    assert its.parameters == 8_292_166_656
    assert its.total_gb < 0.85 * card_gb
    # What is written in the recipe.
    assert f"bout {its.total_gb:.0f} GB" in path.read_text()


def test_recipes_for_smaller_cards_learn_from_as_many_clips_in_a_step() -> None:
    for name in ("robot_lora", "robot_lora_48gb", "robot_lora_24gb"):
        training = read_recipe(RECIPES / f"{name}.yaml").training
        assert training.batch_clips * training.accumulate == 16


def test_layers_in_four_bits_need_a_quarter_of_their_memory(shapes: Path, tmp_path: Path) -> None:
    """6.5 of the 8.3 thousand million weights of a 7B model are in the layers of its decoder."""
    whole, small = (
        estimate(read_recipe(recipe(tmp_path / "r.yaml", shapes, lora, bfloat16=True)))
        for lora in ({}, {"four_bit": True})
    )
    layers = 28 * 3584 * (2 * 3584 + 2 * 512 + 3 * 18944)
    assert whole.weights_gb - small.weights_gb == pytest.approx((2 - 0.516) * layers / 1e9)


@pytest.mark.parametrize(
    ("frame_tokens", "layers", "checkpointing", "peak_gb"),
    [(768, 1, False, 7.82), (768, 3, True, 8.40), (768, 28, True, 12.06), (100, 1, False, 2.81)],
)
def test_activations_are_those_that_were_counted_of_a_7b_model(
    tmp_path: Path, frame_tokens: int, layers: int, checkpointing: bool, peak_gb: float
) -> None:
    """Of steps with torch's fake tensors; with small frames logits need the most."""
    text = {**SHAPES["text_config"], "num_hidden_layers": layers}
    (tmp_path / "config.json").write_text(json.dumps({**SHAPES, "text_config": text}))
    training = {"bfloat16": True, "batch_clips": 1, "gradient_checkpointing": checkpointing}
    (tmp_path / "streaming.json").write_text(
        json.dumps({"min_frame_tokens": 4, "max_frame_tokens": frame_tokens})
    )
    its = read_recipe(recipe(tmp_path / "r.yaml", tmp_path, {}, **training))
    its = replace(its, data=DataConfig(train=("clips.jsonl",)))
    assert clip_tokens(its.settings, 24.0) == 24 * (frame_tokens + 40) + 1024
    assert estimate(its).activations_gb == pytest.approx(peak_gb, rel=0.05)


def test_activations_are_of_clips_as_long_as_those_that_are_learnt(
    first: Path, tmp_path: Path
) -> None:
    """Those of the world have the recipe's rounds, recorded ones the export's 24."""
    short = read_recipe(recipe(tmp_path / "r.yaml", first, {}))
    long = replace(short, clips=replace(short.clips, rounds=24))
    recorded = replace(short, data=DataConfig(train=("clips.jsonl",)))
    assert estimate(short).activations_gb < estimate(long).activations_gb
    assert estimate(long) == estimate(recorded)


def test_packed_clips_need_logits_for_their_own_words_alone(shapes: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path / "r.yaml", shapes, {}, gradient_checkpointing=True, batch_clips=8)
    small = {"min_frame_tokens": 4, "max_frame_tokens": 100}
    padded = replace(read_recipe(path), streaming=small, data=DataConfig(train=("clips.jsonl",)))
    packed = replace(padded, training=replace(padded.training, packing=True))
    assert estimate(packed).activations_gb < estimate(padded).activations_gb
