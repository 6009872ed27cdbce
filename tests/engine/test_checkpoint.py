"""Finding and loading checkpoints, and the errors for those that can't be loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from streamingvlm_ros.config import (
    DEMO_CHECKPOINT,
    PUBLISHED_MODEL,
    ConfigError,
    ModelConfig,
    Settings,
    settings_for,
)
from streamingvlm_ros.engine.model import load, resolve
from streamingvlm_ros.errors import ModelError

from .conftest import CHECKPOINT


def test_names_resolve_to_folders_and_hub_ids(tmp_path: Path) -> None:
    assert resolve("demo") == DEMO_CHECKPOINT
    assert resolve(str(tmp_path)) == tmp_path
    assert resolve("someone/some-model") == "someone/some-model"
    expected = PUBLISHED_MODEL if torch.cuda.is_available() else DEMO_CHECKPOINT
    assert resolve("auto") == expected


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "~/nothing", "nothing"])
def test_a_missing_folder_is_named(name: str) -> None:
    with pytest.raises(ModelError, match="no model at"):
        resolve(name)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        load(tmp_path, ModelConfig())


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelError, match=r"llama, not a qwen2_5_vl"):
        load(tmp_path, ModelConfig())


def test_weights_that_are_missing_or_broken_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(CHECKPOINT, folder)
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="can't load"):
        load(folder, ModelConfig())
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="can't load"):
        load(folder, ModelConfig())


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(CHECKPOINT, folder)
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if "layers.0.mlp" in name)
    del weights[gone]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks 1 weights"):
        load(folder, ModelConfig())


def test_a_checkpoint_whose_shapes_differ_from_its_config_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(CHECKPOINT, folder)
    config = json.loads((folder / "config.json").read_text())
    config["intermediate_size"] = config["text_config"]["intermediate_size"] = 96
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="can't load"):
        load(folder, ModelConfig())


def test_a_pickled_checkpoint_is_never_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(CHECKPOINT, folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can't load"):
        load(folder, ModelConfig())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_requesting_a_missing_gpu_is_an_error() -> None:
    with pytest.raises(ModelError, match="no GPU"):
        load(CHECKPOINT, ModelConfig(device="cuda"))


def test_user_settings_override_the_checkpoints_own(tmp_path: Path) -> None:
    (tmp_path / "streaming.json").write_text('{"vision_rounds": 5, "temperature": 0.0}')
    settings = settings_for(tmp_path).updated({"temperature": 0.5})
    assert settings.window.vision_rounds == 5
    assert settings.sampling.temperature == 0.5
    assert settings.window.text_rounds == Settings().window.text_rounds


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "[]", "[1]", '[["vision_rounds", 5]]', '"x"', "[" * 100_000),
        *('{"windows": 3}', '{"vision_rounds": 0}', '{"vision_rounds": NaN}'),
    ],
    ids=lambda text: text[:24],
)
def test_invalid_checkpoint_settings_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "streaming.json").write_text(text)
    with pytest.raises(ConfigError, match=r"streaming\.json(: | is not JSON| must hold)"):
        settings_for(tmp_path)
