"""The start of a run: quantized ones are refused, and its small files reach the finished model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import constants
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer

from streamingvlm_ros.errors import ConfigError
from streamingvlm_training.sft import main, train
from streamingvlm_training.start import check_not_quantized, copy_small_files

from .runs import changed_copy

PREPROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
CARRIED = {
    "preprocessor_config.json": json.dumps(PREPROCESSOR),
    "video_preprocessor_config.json": json.dumps({"video_processor_type": "Qwen2VLVideoProcessor"}),
    "processor_config.json": json.dumps({"processor_class": "Qwen2_5_VLProcessor"}),
    "chat_template.json": json.dumps({"chat_template": "{{ messages }}"}),
    "a_file_of_tomorrow.json": "{}",
    "merges.txt": "#version: 0.2\n",
    "tokenizer.model": "pieces",
    "LICENSE": "Apache",
    "NOTICE.md": "Notice",
}
OF_THE_START_ALONE = {
    "trainer_state.json": "{}",
    "model.safetensors.index.json": '{"weight_map": {}}',
    "README.md": "# The start",
    "optimizer.pt": "",
    "modeling_custom.py": "raise SystemExit",
}
METHODS: list[dict[str, Any]] = [
    {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    {"quant_method": "bitsandbytes", "load_in_8bit": True},
    {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"},
    {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False},
    {"quant_method": "fp8", "weight_block_size": [128, 128]},
    {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {}},
    {"quant_method": "modelopt", "quant_algo": "NVFP4"},
    {"load_in_4bit": True},
]
VARIANTS: dict[str, dict[str, Any]] = {
    "all weights": {},
    "adapters": {"lora": {"rank": 2}},
    "four bits": {"lora": {"rank": 2, "four_bit": True}},
}


def write_recipe(path: Path, start: Path | str, **content: Any) -> Path:
    training = {"steps": 1, "batch_clips": 1, "warmup_steps": 0}
    clips = {"rounds": 3, "side_px": 56}
    path.write_text(
        yaml.safe_dump({"start": str(start), "clips": clips, "training": training, **content})
    )
    return path


def assert_refused(start: Path, *, sign: str) -> None:
    with pytest.raises(ConfigError, match="is quantized already") as refused:
        check_not_quantized(str(start))
    message = str(refused.value)
    assert sign in message
    assert str(start) in message
    assert "name the model that it was made from" in message
    assert "\n" not in message


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS)
def test_a_quantized_start_is_refused_before_anything_is_written(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: dict[str, Any]
) -> None:
    start = changed_copy(
        first, tmp_path / "start", config=lambda c: c.update(quantization_config=METHODS[0])
    )
    path = write_recipe(tmp_path / "r.yaml", start, **content)
    assert main([str(path), "--output", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: the start {start} is quantized already (config.json: ")
    assert "lora: {four_bit: true} holds that in 4 bits" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_declared_method_is_refused(
    first: Path, tmp_path: Path, method: dict[str, Any]
) -> None:
    start = changed_copy(
        first, tmp_path / "start", config=lambda c: c.update(quantization_config=method)
    )
    assert_refused(start, sign=method.get("quant_method", "unnamed"))


def test_a_declaration_inside_the_text_models_configuration_is_found(
    first: Path, tmp_path: Path
) -> None:
    start = changed_copy(
        first,
        tmp_path / "start",
        config=lambda c: c["text_config"].update(quantization_config={"quant_method": "gptq"}),
    )
    assert_refused(start, sign="gptq")


@pytest.mark.parametrize(
    "name", ["hf_quant_config.json", "quantize_config.json", "quant_config.json"]
)
def test_a_declaration_in_a_file_of_its_own_is_found(
    first: Path, tmp_path: Path, name: str
) -> None:
    start = changed_copy(first, tmp_path / "start")
    (start / name).write_text("{}")
    assert_refused(start, sign=name)


@pytest.mark.parametrize(
    ("dtype", "sign"),
    [
        (torch.float8_e4m3fn, "F8_E4M3"),
        (torch.float8_e5m2, "F8_E5M2"),
        (torch.int8, "I8"),
        (torch.uint8, "U8"),
        (torch.int32, "I32"),
    ],
)
def test_quantized_weights_that_nothing_declares_are_found(
    first: Path, tmp_path: Path, dtype: torch.dtype, sign: str
) -> None:
    """transformers would take the rounded numbers for the weights, without their scales."""

    def quantize(weights: dict[str, Tensor]) -> None:
        weights["model.layers.0.mlp.up_proj.weight"] = torch.ones(64, 64).to(dtype)

    start = changed_copy(first, tmp_path / "start", weights=quantize)
    assert_refused(start, sign=f"model.safetensors holds {sign}")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_start_in_another_float_type_is_accepted(
    first: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    def convert(weights: dict[str, Tensor]) -> None:
        weights.update({name: weight.to(dtype) for name, weight in weights.items()})

    start = changed_copy(
        first,
        tmp_path / "start",
        weights=convert,
        config=lambda c: c.update(quantization_config=None),
    )
    check_not_quantized(str(start))


@pytest.fixture
def complete(first: Path, tmp_path: Path) -> Path:
    """A start with files for other programs."""
    start = Path(shutil.copytree(first, tmp_path / "complete"))
    for name, text in (CARRIED | OF_THE_START_ALONE).items():
        (start / name).write_text(text)
    return start


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS)
def test_a_finished_model_has_the_small_files_of_its_start(
    complete: Path, tmp_path: Path, content: dict[str, Any]
) -> None:
    if content.get("lora", {}).get("four_bit"):
        pytest.importorskip("bitsandbytes")
    folder = train(write_recipe(tmp_path / "r.yaml", complete, **content), tmp_path / "run")
    for name, text in CARRIED.items():
        assert (folder / name).read_text() == text
    assert not [name for name in OF_THE_START_ALONE if (folder / name).exists()]
    assert json.loads((folder / "start.json").read_text())["start"] == str(complete)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        assert (folder / name).exists()
    assert AutoImageProcessor.from_pretrained(folder).patch_size == 14
    text = "red circle"
    ids = [AutoTokenizer.from_pretrained(path)(text).input_ids for path in (complete, folder)]
    assert ids[0] == ids[1]


def test_settings_and_configuration_of_the_run_replace_those_of_the_start(
    complete: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path / "r.yaml", complete, streaming={"max_new_tokens": 7})
    folder = train(path, tmp_path / "run")
    assert json.loads((folder / "streaming.json").read_text())["max_new_tokens"] == 7
    assert "transformers_version" in json.loads((folder / "config.json").read_text())


def test_files_come_from_the_start_as_it_was_before_the_first_step(
    complete: Path, tmp_path: Path
) -> None:
    """A start may lose files meanwhile, and a run may go on from its own finished model."""
    path, run = write_recipe(tmp_path / "r.yaml", complete), tmp_path / "run"
    shutil.rmtree(train(path, run))
    (complete / "preprocessor_config.json").unlink()
    resumed = train(path, run, resume=True)
    assert (resumed / "preprocessor_config.json").read_text() == json.dumps(PREPROCESSOR)
    shutil.rmtree(run / "steps")
    again = train(path, run, start=str(resumed))
    assert (again / "preprocessor_config.json").read_text() == json.dumps(PREPROCESSOR)


@pytest.fixture
def in_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], None]:
    """Put a model into an empty cache, as a download does; there is no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def put(model: Path, hub_id: str) -> None:
        repository = tmp_path / "cache" / f"models--{hub_id.replace('/', '--')}"
        commit = "0123456789abcdef0123456789abcdef01234567"
        shutil.copytree(model, repository / "snapshots" / commit)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)

    return put


def test_small_files_of_a_cached_hub_model_are_carried_over(
    complete: Path, tmp_path: Path, in_hub_cache: Callable[[Path, str], None]
) -> None:
    in_hub_cache(complete, "someone/model")
    copy_small_files("someone/model", tmp_path / "files")
    names = {path.name for path in (tmp_path / "files").iterdir()}
    assert {*CARRIED, "tokenizer.json", "config.json"} <= names
    assert not names & {*OF_THE_START_ALONE, "model.safetensors", "start.json"}
