"""Weights and caches that don't fit the memory are refused before they are allocated."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamingvlm_ros.config import DEMO_CHECKPOINT, Settings
from streamingvlm_ros.engine import memory
from streamingvlm_ros.engine.budget import largest_setting
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import load
from streamingvlm_ros.engine.weights_size import weights_bytes
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame

from .conftest import CHECKPOINT, SMALL

LARGE = [1_000_000, 1_000_000]


def write_weights(path: Path, tensors: dict[str, tuple[str, list[int], int]]) -> None:
    """Write a sparse safetensors file; a tensor is (type, shape, bytes)."""
    header: dict[str, Any] = {}
    end = 0
    for name, (kind, shape, size) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint without weights."""
    for path in CHECKPOINT.iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, tmp_path)
    return tmp_path


def settings(**changes: Any) -> Settings:
    return Settings().updated({**SMALL, "device": "cpu", **changes})


def test_weights_beyond_the_memory_are_refused_before_they_are_read(folder: Path) -> None:
    write_weights(folder / "model.safetensors", {"a": ("BF16", LARGE, 2 * 10**12)})
    with pytest.raises(ConfigError, match=r"weights of .* in float32 take 4000.0 GB, but only .*"):
        load(folder, settings(dtype="float32").model)
    with pytest.raises(ConfigError, match=r"bfloat16 take 2000.0 GB.*choose a smaller model$"):
        load(folder, settings(dtype="bfloat16").model)


def test_all_files_of_an_index_count_once(folder: Path) -> None:
    for name in ("one", "two", "backup"):
        write_weights(folder / f"{name}.safetensors", {name: ("F32", [5, 10], 200)})
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights_bytes(folder, torch.float32) == 2 * 200
    assert weights_bytes(folder, torch.float16) == 2 * 100


def test_packed_weights_count_as_they_are_stored(folder: Path) -> None:
    packed = {"a": ("U8", [100], 100), "b": ("F8_E4M3", [10], 10), "c": ("I32", [10], 40)}
    write_weights(folder / "model.safetensors", {**packed, "scale": ("F32", [10], 40)})
    assert weights_bytes(folder, torch.bfloat16) == 100 + 10 + 40 + 20


def test_the_size_is_that_of_the_loaded_model() -> None:
    model = load(DEMO_CHECKPOINT, settings(dtype="bfloat16").model).model
    assert weights_bytes(DEMO_CHECKPOINT, torch.bfloat16) == sum(
        parameter.nbytes for parameter in model.parameters()
    )


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"vision_rounds": 512, "min_frame_tokens": 16384, "max_frame_tokens": 16384}, "vision"),
        ({"vision_rounds": 4, "min_frame_tokens": 16384, "max_frame_tokens": 16384}, "min_frame"),
        ({"text_rounds": 512, "max_new_tokens": 512}, "(text_rounds|max_new_tokens)"),
        ({"text_window": 8192}, "text_window"),
        ({"text_sink": 8192}, "text_sink"),
        ({"question_frame_tokens": 16384, "recent_frames": 64}, "question_frame_tokens"),
        ({"questions_at_once": 64, "max_answer_tokens": 2048}, "questions_at_once"),
    ],
)
def test_a_cache_beyond_the_memory_is_refused_with_the_setting_that_fills_it(
    changes: dict[str, int], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(CHECKPOINT, settings().model)
    StreamingEngine(loaded, settings())
    monkeypatch.setattr(memory, "available_bytes", lambda: 100_000)
    with pytest.raises(ConfigError, match=rf"KV cache take .* lower {name}\w* \(now \d+\)"):
        StreamingEngine(loaded, settings(**changes))


def test_frames_that_need_too_large_a_cache_are_refused_and_smaller_ones_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = settings(max_frame_tokens=16384, vision_rounds=64)
    stream = StreamingEngine(load(CHECKPOINT, large.model), large).open_stream()
    first = stream.step(chunk(0, side_px=28))
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000)
    with pytest.raises(ConfigError, match=r"only 0.0 GB .* lower \w+ \(now"):
        stream.step(chunk(1, side_px=28 * 32))
    assert stream.step(chunk(1, side_px=28)).start_ns == first.end_ns


def chunk(second: int, *, side_px: int) -> Chunk:
    start_ns = second * NS_PER_S
    frame = Frame(np.zeros((side_px, side_px, 3), np.uint8), start_ns)
    return Chunk((frame, frame), start_ns, start_ns + NS_PER_S)


def test_the_largest_setting_is_the_one_that_saves_most() -> None:
    def slots(settings: Settings) -> int:
        return settings.window.vision_rounds * 100 + settings.window.text_window

    assert largest_setting(settings(vision_rounds=2, text_window=8192), slots) == "text_window"
    assert largest_setting(settings(vision_rounds=200, text_window=9), slots) == "vision_rounds"
