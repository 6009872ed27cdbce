"""Folders that people have: errors name the file or the weight, and the remedy."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from streamingvlm_ros.config import ModelConfig
from streamingvlm_ros.engine.model import load
from streamingvlm_ros.errors import ModelError

from .conftest import CHECKPOINT

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3900000000\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of a checkpoint."""
    copied = tmp_path / "model"
    shutil.copytree(CHECKPOINT, copied)
    return copied


def edit_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | changes))


def edit_weights(folder: Path, change: Callable[[str, torch.Tensor], torch.Tensor | None]) -> None:
    """Replace each weight by what `change` returns; None removes it."""
    weights = load_file(folder / "model.safetensors")
    changed = {name: change(name, weight) for name, weight in weights.items()}
    left = {name: weight.contiguous() for name, weight in changed.items() if weight is not None}
    save_file(left, folder / "model.safetensors", metadata={"format": "pt"})


def split_weights(folder: Path) -> list[Path]:
    """Save the weights as two files with an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    halves = [names[: len(names) // 2], names[len(names) // 2 :]]
    paths = [folder / f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for path, half in zip(paths, halves, strict=True):
        save_file({name: weights[name] for name in half}, path, metadata={"format": "pt"})
    index = {name: path.name for path, half in zip(paths, halves, strict=True) for name in half}
    edit_json(folder / "model.safetensors.index.json", metadata={}, weight_map=index)
    return paths


def error_of(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(folder, ModelConfig())
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def add_adapter(folder: Path) -> None:
    edit_json(
        folder / "adapter_config.json",
        peft_type="LORA",
        r=2,
        lora_alpha=4,
        target_modules=["q_proj"],
        base_model_name_or_path=str(folder),
    )
    prefix = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    adapter = {
        f"{prefix}.lora_A.weight": torch.ones(2, 64),
        f"{prefix}.lora_B.weight": torch.ones(64, 2),
    }
    save_file(adapter, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def test_a_folder_without_config_is_named_with_the_file(tmp_path: Path) -> None:
    assert "has no config.json" in error_of(tmp_path)


def test_an_adapter_alone_is_called_one(tmp_path: Path) -> None:
    add_adapter(tmp_path)
    assert "an adapter, not a model. Merge" in error_of(tmp_path)


def test_a_folder_around_the_model_leads_to_the_models_own(folder: Path) -> None:
    assert f"such as {folder}" in error_of(folder.parent)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("model-q4.gguf", "GGUF"), ("pytorch_model.bin", "pickled"), ("model.pth", "pickled")],
)
@pytest.mark.parametrize("config", [True, False], ids=["config", "no config"])
def test_weights_in_another_format_are_named(
    folder: Path, name: str, kind: str, config: bool
) -> None:
    (folder / "model.safetensors").rename(folder / name)
    if not config:
        (folder / "config.json").unlink()
    assert kind in error_of(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_recognised(folder: Path, name: str) -> None:
    (folder / name).write_text(POINTER)
    message = error_of(folder)
    assert str(folder / name) in message
    assert "git lfs pull" in message


def test_a_checkpoint_in_two_files_is_loaded(folder: Path) -> None:
    split_weights(folder)
    load(folder, ModelConfig())


@pytest.mark.parametrize("part", [0, 1])
def test_a_missing_part_is_named(folder: Path, part: int) -> None:
    path = split_weights(folder)[part]
    path.unlink()
    assert f"{path} is missing" in error_of(folder)


@pytest.mark.parametrize("length", [0, 5, 400, 900_000])
def test_a_part_that_was_cut_off_is_named(folder: Path, length: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert f"{path}: it is damaged or incomplete" in error_of(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": None}, {"weight_map": {"x": 3}}])
def test_an_index_without_files_is_named(folder: Path, index: dict[str, Any]) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model.safetensors.index.json has no weight_map" in error_of(folder)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[1]", b"\xff\xfe\xff", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"],
    ids=["empty", "open", "null", "list", "no text", "deep", "long number"],
)
def test_a_file_that_is_no_json_object_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    assert str(folder / name) in error_of(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_in_a_files_place_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    assert f"can't read {folder / name}" in error_of(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(folder: Path) -> None:
    (folder / "model.safetensors").chmod(0)
    assert f"can't read {folder / 'model.safetensors'}: Permission denied" in error_of(folder)


def test_weights_of_no_size_are_named(folder: Path) -> None:
    """ZeRO-3 saves them so if the weights aren't gathered."""
    edit_weights(folder, lambda name, w: w[:0] if "0.mlp.up_proj" in name else w)
    message = error_of(folder)
    assert "layers.0.mlp.up_proj.weight with [0, 64], not [128, 64]" in message
    assert "ZeRO-3" in message


@pytest.mark.parametrize("part", ["embed_tokens", "visual.patch_embed", "lm_head"])
def test_weights_of_another_shape_are_named(folder: Path, part: str) -> None:
    edit_weights(folder, lambda name, w: w[1:] if part in name else w)
    assert part in error_of(folder)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("text_config", "num_hidden_layers", 500),
        ("text_config", "intermediate_size", 10**9),
        ("vision_config", "spatial_merge_size", 1000),
        ("vision_config", "patch_size", 10**4),
    ],
)
def test_a_config_of_a_far_larger_model_is_refused_before_memory_is_allocated(
    folder: Path, section: str, name: str, value: int
) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit_json(folder / "config.json", **{section: config[section] | {name: value}, name: value})
    assert "but its weights hold 242,272." in error_of(folder)


@pytest.mark.parametrize("part", ["layers.2.", "visual.merger", "embed_tokens"])
def test_weights_that_are_missing_are_named(folder: Path, part: str) -> None:
    edit_weights(folder, lambda name, w: None if part in name else w)
    message = error_of(folder)
    assert "it lacks" in message
    assert part in message


def test_missing_weights_are_missed_beside_an_adapter_too(folder: Path) -> None:
    add_adapter(folder)
    edit_weights(folder, lambda name, w: None if "layers.1.mlp" in name else w)
    assert "it lacks 3 weights" in error_of(folder)


def test_an_adapter_beside_merged_weights_is_not_applied_again(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_adapter(folder)
    loaded, plain = load(folder, ModelConfig()), load(CHECKPOINT, ModelConfig())
    assert "not applied" in caplog.text
    ours, expected = (m.model.state_dict() for m in (loaded, plain))
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("quantised", "library"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}, "gptqmodel"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "optimum"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "compressed"),
    ],
    ids=str,
)
def test_a_quantised_checkpoint_without_its_library_names_it(
    folder: Path, quantised: dict[str, Any], library: str
) -> None:
    edit_json(folder / "config.json", quantization_config=quantised)
    assert library in error_of(folder)


def test_quantised_weights_whose_method_nobody_states_are_refused(folder: Path) -> None:
    """Read as plain weights, they would be wrong by their scale."""
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("q_proj.weight"))
    weights[f"{name}_scale"] = torch.ones(1)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert f"{name}_scale" in error_of(folder)


@pytest.mark.parametrize("method", ["aqlm", "hqq", "quanto", "eetq", "nobody-knows", None])
def test_a_quantisation_that_cannot_run_here_is_one_line(folder: Path, method: str | None) -> None:
    edit_json(folder / "config.json", quantization_config={"quant_method": method, "bits": 4})
    error_of(folder)


@pytest.mark.parametrize(
    "generation",
    [
        *({"top_k": "fifty"}, {"top_k": -3}, {"top_p": [0.9]}, {"top_p": -0.5}, {"top_p": True}),
        *({"eos_token_id": "2"}, {"eos_token_id": [2, None]}, {"eos_token_id": {"id": 2}}),
    ],
    ids=str,
)
def test_sampling_settings_that_are_none_are_refused(
    folder: Path, generation: dict[str, Any]
) -> None:
    edit_json(folder / "generation_config.json", **generation)
    error_of(folder)


@pytest.mark.parametrize(
    ("generation", "top_k", "top_p", "stops"),
    [
        ({"do_sample": True, "temperature": 1e-6, "eos_token_id": [2, 0]}, 50, 1.0, {0, 2}),
        ({"top_k": None, "top_p": None, "eos_token_id": 2}, 50, 1.0, {2}),
        ({"top_k": 0, "eos_token_id": 0}, 0, 1.0, {0}),
        ({"top_k": 10**6, "top_p": 7.0, "eos_token_id": []}, 369, 1.0, set()),
        ({"top_k": 7, "top_p": 0.8}, 7, 0.8, set()),
        (None, 50, 1.0, {2}),
    ],
    ids=str,
)
def test_what_a_checkpoint_leaves_open_is_what_generate_does(
    folder: Path, generation: dict[str, Any] | None, top_k: int, top_p: float, stops: set[int]
) -> None:
    path = folder / "generation_config.json"
    path.unlink()
    if generation is not None:
        path.write_text(json.dumps(generation))
    loaded = load(folder, ModelConfig())
    assert (loaded.top_k, loaded.top_p, loaded.stop_ids) == (top_k, top_p, stops)


@pytest.mark.parametrize("given", [{}, {"top_k": None}, {"top_k": 0}, {"top_k": 3}], ids=str)
def test_generate_keeps_as_many_tokens_as_the_engine(folder: Path, given: dict[str, Any]) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2], **given}))
    loaded = load(folder, ModelConfig())
    scores = loaded.model.generate(
        torch.tensor([[1, 100, 101]]),
        do_sample=True,
        max_new_tokens=1,
        return_dict_in_generate=True,
        output_scores=True,
    ).scores
    vocabulary = scores[0].shape[-1]
    assert int(scores[0].isfinite().sum()) == (loaded.top_k or vocabulary)
