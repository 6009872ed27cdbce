"""Whatever fails while a checkpoint is read or loaded is one error of this package."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from streamingvlm_ros.config import ModelConfig, Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.loading import as_model_error
from streamingvlm_ros.engine.model import load, resolve
from streamingvlm_ros.engine.qwen2_5 import checkpoint as family
from streamingvlm_ros.engine.qwen2_5.decoder import Decoder
from streamingvlm_ros.errors import ConfigError, ModelError, StreamingVLMError

from .conftest import CHECKPOINT, SMALL

NAMES = st.sampled_from(
    [
        *(AttributeError, ImportError, KeyError, RecursionError, RuntimeError, TypeError),
        *(AssertionError, IndexError, NotImplementedError, SafetensorError, ValueError),
        *(EOFError, MemoryError, OSError, StopIteration, ZeroDivisionError, torch.OutOfMemoryError),
    ]
)
STEPS = st.sampled_from(
    ["read_config", "load_weights", "load_tokenizer", "run_first_forward_hooks"]
)


@settings(max_examples=40)
@given(step=STEPS, kind=NAMES, text=st.text(max_size=2000))
def test_any_exception_becomes_a_model_error_in_one_line(
    step: str, kind: type[Exception], text: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise kind(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(family, step, fail)
        with pytest.raises(ModelError) as caught:
            load(CHECKPOINT, ModelConfig())
    message = str(caught.value)
    assert str(CHECKPOINT) in message
    assert len(message.splitlines()) == 1
    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory. Free some"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried …"), "not enough memory. Free some"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: …"), "not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: free space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full: free space"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: Permission denied"),
        (ImportError("Loading needs x: pip install x"), "a library is missing. Loading needs x"),
        (KeyError("model"), "the entry 'model' is missing in a file"),
        (RecursionError("deep"), "a file is nested too deeply"),
        (ValueError("one\n  two"), "one two"),
        (ValueError(), "ValueError"),
        (TypeError("unhashable"), "TypeError: unhashable"),
    ],
    ids=repr,
)
def test_the_error_says_what_to_do(error: Exception, words: str) -> None:
    with pytest.raises(ModelError) as caught, as_model_error("can't load it"):
        raise error
    assert str(caught.value).startswith(f"can't load it: {words}")


def test_a_message_with_a_full_stop_gets_no_second_one() -> None:
    with pytest.raises(ModelError) as caught, as_model_error("can't load it", "Copy it again"):
        raise ValueError("no such revision.")
    assert str(caught.value) == "can't load it: no such revision. Copy it again"


@pytest.mark.parametrize("error", [ModelError("a"), ConfigError("b")])
def test_errors_of_this_package_pass_unchanged(error: StreamingVLMError) -> None:
    with pytest.raises(type(error)) as caught, as_model_error("can't load it"):
        raise error
    assert caught.value is error


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 1000) | st.floats(-10, 1000) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def places(content: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the path of every entry of nested objects."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield (*place, key)
            yield from places(value, (*place, key))


@settings(max_examples=50)
@given(data=st.data())
def test_any_value_in_a_config_loads_or_is_an_error_of_this_package(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("odd") / "model"
    shutil.copytree(CHECKPOINT, folder)
    name = data.draw(
        st.sampled_from(["config.json", "generation_config.json", "tokenizer_config.json"])
    )
    content = json.loads((folder / name).read_text())
    *outer, key = data.draw(st.sampled_from(list(places(content))))
    entry = content
    for step in outer:
        entry = entry[step]
    entry[key] = data.draw(JSON)
    (folder / name).write_text(json.dumps(content))
    with suppress(StreamingVLMError):
        StreamingEngine.from_pretrained(folder, Settings().updated(SMALL))


@pytest.mark.parametrize(
    "name", ["~nosuchuser/model", "~nosuchuser", "a\0b", "x" * 5000, "x/" + "y" * 5000, "", "/"]
)
def test_a_name_that_leads_nowhere_is_an_error(name: str) -> None:
    with pytest.raises(ModelError):
        load(resolve(name), ModelConfig())


def test_a_file_as_model_is_called_one() -> None:
    with pytest.raises(ModelError, match="which is a file: give a checkpoint's folder"):
        resolve(str(CHECKPOINT / "model.safetensors"))


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "cpu:"])
def test_a_device_that_torch_does_not_know_is_a_wrong_setting(device: str) -> None:
    with pytest.raises(ConfigError, match="is no device of torch: use auto, cpu, cuda or cuda:N"):
        load(CHECKPOINT, ModelConfig(device=device))


def test_rotary_embeddings_of_another_shape_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers before 5.17 gives one for time, height and width each."""
    loaded = load(CHECKPOINT, ModelConfig())
    rotary = loaded.model.model.language_model.rotary_emb
    decoder, forward = Decoder(loaded.model), rotary.forward

    def unmerged(like: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(part.expand(3, *part.shape) for part in forward(like, positions))

    monkeypatch.setattr(rotary, "forward", unmerged)
    with pytest.raises(ModelError, match=r"transformers>=5\.17"):
        decoder.rotation(torch.zeros(3, 4))
    with pytest.raises(ModelError, match=r"shape \(3, 1, 1, 16\), not \(1, 1, 16\)"):
        Decoder(loaded.model)
