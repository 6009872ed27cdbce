"""Starts whose output head shares the weights of the embeddings, as the 3B model's does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration as Model

from streamingvlm_ros.config import settings_for
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_training.memory import estimate_memory
from streamingvlm_training.recipe import read_recipe
from streamingvlm_training.sft import train

from .runs import changed_copy, losses, resumed_after_a_crash

EMBEDDINGS = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
IDS = torch.arange(9)[None]


@pytest.fixture(scope="module")
def tied(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied model. Not to be changed."""

    def tie(config: dict[str, Any]) -> None:
        config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True

    folder = tmp_path_factory.mktemp("tied") / "model"
    return changed_copy(first, folder, weights=lambda weights: weights.pop(HEAD), config=tie)


def write_recipe(path: Path, start: Path, *, lora: dict[str, Any] | None) -> Path:
    training = {
        "steps": 4,
        "batch_clips": 1,
        "learning_rate": 0.01,
        "warmup_steps": 0,
        "log_every": 1,
        "save_every": 1,
    }
    content = {
        "start": str(start),
        "clips": {"rounds": 3, "side_px": 56},
        "training": training,
        **({"lora": {"rank": 4, "alpha": 64, **lora}} if lora is not None else {}),
    }
    path.write_text(yaml.safe_dump(content))
    return path


def logits(model: Any) -> Tensor:
    with torch.inference_mode():
        result: Tensor = model(input_ids=IDS).logits
    return result


@pytest.mark.parametrize(
    "lora",
    [
        {"head": True},
        {"head": True, "vision": True, "dropout": 0.1},
        pytest.param({"head": True, "four_bit": True}, id="four_bit"),
    ],
)
def test_a_head_adapter_is_merged_without_changing_the_embeddings(
    tied: Path, tmp_path: Path, lora: dict[str, Any]
) -> None:
    from peft import PeftModel

    if lora.get("four_bit"):
        pytest.importorskip("bitsandbytes")
    folder = train(write_recipe(tmp_path / "r.yaml", tied, lora=lora), tmp_path / "run")
    before, after = (load_file(path / "model.safetensors") for path in (tied, folder))
    assert torch.equal(after[EMBEDDINGS], before[EMBEDDINGS])
    assert (after[HEAD] - after[EMBEDDINGS]).abs().max() > 0.01
    config = json.loads((folder / "config.json").read_text())
    assert not config["tie_word_embeddings"]
    adapted = PeftModel.from_pretrained(Model.from_pretrained(tied), str(folder / "adapter"))
    difference = logits(adapted) - logits(Model.from_pretrained(folder))
    assert difference.abs().max() < 1e-4
    StreamingEngine.from_pretrained(folder, settings_for(folder))


@pytest.mark.parametrize("lora", [{}, None])
def test_a_start_without_a_head_adapter_stays_tied(
    tied: Path, tmp_path: Path, lora: dict[str, Any] | None
) -> None:
    folder = train(write_recipe(tmp_path / "r.yaml", tied, lora=lora), tmp_path / "run")
    before, after = (load_file(path / "model.safetensors") for path in (tied, folder))
    assert before.keys() == after.keys()
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"]
    model = Model.from_pretrained(folder)
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_a_head_adapter_of_a_tied_start_is_resumed(
    tied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(tmp_path / "r.yaml", tied, lora={"head": True})
    straight = train(path, tmp_path / "straight")
    crashed = resumed_after_a_crash(path, tmp_path / "crashed", monkeypatch=monkeypatch)
    assert losses(straight) == losses(crashed)
    expected, weights = (load_file(run / "model.safetensors") for run in (straight, crashed))
    assert all(torch.equal(weights[name], weight) for name, weight in expected.items())


def test_a_second_stage_adapts_the_untied_head_of_the_first(tied: Path, tmp_path: Path) -> None:
    one = train(write_recipe(tmp_path / "one.yaml", tied, lora={"head": True}), tmp_path / "one")
    two = train(write_recipe(tmp_path / "two.yaml", one, lora={"head": True}), tmp_path / "two")
    before, after = (load_file(path / "model.safetensors") for path in (one, two))
    assert torch.equal(after[EMBEDDINGS], before[EMBEDDINGS])
    assert not torch.equal(after[HEAD], before[HEAD])


def test_an_adapter_holds_nothing_but_adapters(tied: Path, tmp_path: Path) -> None:
    """Other programs, such as vLLM, refuse a copy of the head among them."""
    folder = train(write_recipe(tmp_path / "r.yaml", tied, lora={"head": True}), tmp_path / "run")
    names = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert names
    assert all("lora_" in name for name in names)


def test_the_memory_of_the_heads_own_weights_is_counted(tied: Path, tmp_path: Path) -> None:
    plain, head = (
        estimate_memory(read_recipe(write_recipe(tmp_path / "r.yaml", tied, lora=lora)))
        for lora in ({}, {"head": True})
    )
    assert (
        head.parameters - plain.parameters
        == load_file(tied / "model.safetensors")[EMBEDDINGS].numel()
    )
