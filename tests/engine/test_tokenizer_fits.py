"""A tokenizer that is missing or foreign is refused: with it a narrator says nothing, for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from streamingvlm_ros.config import DEMO_CHECKPOINT, ModelConfig
from streamingvlm_ros.engine.model import load
from streamingvlm_ros.errors import ModelError

from .conftest import CHECKPOINT

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
SPECIALS = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of a checkpoint."""
    copied = tmp_path / "model"
    shutil.copytree(CHECKPOINT, copied)
    return copied


def error_of(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(folder, ModelConfig())
    assert str(folder) in str(caught.value)
    return str(caught.value)


def write_tokenizer(folder: Path, vocabulary: dict[str, int]) -> None:
    """Write a tokenizer of whole words, with these ids."""
    added = [
        {"id": vocabulary[token], "content": token, "special": True}
        | dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
        for token in SPECIALS
        if token in vocabulary
    ]
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<|endoftext|>"}
    content = {"version": "1.0", "added_tokens": added, "model": model}
    content |= {"pre_tokenizer": {"type": "Whitespace"}}
    content |= dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    (folder / "tokenizer.json").write_text(json.dumps(content))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)


def in_order(tokens: list[str]) -> dict[str, int]:
    return {token: id for id, token in enumerate(tokens)}


def test_the_own_tokenizer_fits() -> None:
    load(CHECKPOINT, ModelConfig())
    load(DEMO_CHECKPOINT, ModelConfig())


def test_a_missing_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer (tokenizer.json, or vocab.json and merges.txt)" in error_of(folder)


def test_half_a_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text("{}")
    assert "has no tokenizer" in error_of(folder)


@pytest.mark.parametrize("content", ["", "{}", '{"model": 3}', "[]"])
def test_a_broken_tokenizer_is_named(folder: Path, content: str) -> None:
    (folder / "tokenizer.json").write_text(content)
    assert "the tokenizer in" in error_of(folder)


def test_an_empty_tokenizer_with_all_special_tokens_is_refused(folder: Path) -> None:
    write_tokenizer(folder, in_order(SPECIALS))
    assert "can't encode plain text" in error_of(folder)


@pytest.mark.parametrize("token", SPECIALS[1:5] + SPECIALS[6:])
def test_a_tokenizer_that_lacks_a_special_token_is_refused(folder: Path, token: str) -> None:
    write_tokenizer(folder, {name: id for name, id in in_order(SPECIALS).items() if name != token})
    message = error_of(folder)  # transformers adds the end token by itself, with a new id
    assert f"has no special token {token}" in message or "<|im_end|> is 8" in message


@pytest.mark.parametrize("key", ["vision_start_token_id", "video_token_id", "image_token_id"])
def test_special_tokens_must_have_the_ids_of_the_config(folder: Path, key: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: 151_652}))
    assert f"config.json says {key} 151652" in error_of(folder)


def test_a_tokenizer_whose_turns_end_elsewhere_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 77}))
    assert "eos_token_id 77" in error_of(folder)


def test_another_models_tokenizer_is_refused(folder: Path) -> None:
    """The demo's has more ids than this model has embeddings."""
    for name in TOKENIZER:
        (folder / name).unlink(missing_ok=True)
        if (DEMO_CHECKPOINT / name).exists():
            shutil.copy(DEMO_CHECKPOINT / name, folder)
    assert "doesn't belong to the weights: it has ids up to 486" in error_of(folder)
