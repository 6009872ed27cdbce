"""7B shapes on the meta device: nothing waits for the device, and few kernels are launched."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from perf.true_size import SHAPES
from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.engine.runner import Feed, Place, Runner

from .conftest import CHECKPOINT
from .operations import Recorder

META = torch.device("meta")
BACKENDS = ["masked", "varlen"]
LAYERS = SHAPES["7b"]["text"]["num_hidden_layers"]


def loaded_on_meta(layers: int) -> LoadedModel:
    """Return a model of the true shapes that takes no memory and computes nothing."""
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    config = Qwen2_5_VLConfig(
        text_config=SHAPES["7b"]["text"] | {"num_hidden_layers": layers},
        vision_config=SHAPES["7b"]["vision"],
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
    )
    with META:
        model = Qwen2_5_VLForConditionalGeneration(config)
    return LoadedModel(model.to(torch.bfloat16).eval(), tokenizer)


def runner_on_meta(layers: int, backend: str) -> Runner:
    engine = StreamingEngine(loaded_on_meta(layers), Settings())
    decoder = engine.model.decoder
    cache = decoder.new_cache(2 * 27_000)
    return Runner(
        decoder, cache, streams=1, questions=8, stop_ids=[0], backend=backend, on_device=True
    )


def launches_of_a_step(layers: int, backend: str) -> list[str]:
    runner = runner_on_meta(layers, backend)
    with torch.inference_mode(), Recorder() as recorder:
        runner.step(slice(0, runner.rows))
    return recorder.launches


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_decode_step_launches_at_most_25_kernels_a_layer(backend: str) -> None:
    few, many = (len(launches_of_a_step(layers, backend)) for layers in (2, 6))
    assert (many - few) / 4 <= 25
    assert few - 2 * 25 <= 60


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_prefill_waits_for_nothing(backend: str) -> None:
    runner = runner_on_meta(2, backend)
    feeds = [
        Feed(0, Place(0, 20_000), *_tokens(400)),
        Feed(1, Place(30_000, 30_000, (0, 20_000)), *_tokens(30)),
    ]
    with torch.inference_mode(), Recorder() as recorder:
        runner.prefill(feeds)
    assert len(recorder.launches) < 2 * 60 + 60


def test_an_eviction_waits_for_nothing_and_copies_no_arena_whole() -> None:
    runner = runner_on_meta(LAYERS, "masked")
    cos = torch.empty(20_000, 128, device=META)
    sources = torch.arange(100, 20_100, device=META)
    with torch.inference_mode(), Recorder() as recorder:
        runner.cache.move(sources, 27_000, cos=cos, sin=cos)
    assert len(recorder.launches) <= 12 * LAYERS
    largest = max(x.numel() for op in recorder.operations if not op.is_view for x in op.out)
    assert largest <= 2 * runner.cache.keys.numel() / LAYERS


def _tokens(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return embeddings and positions of `count` tokens."""
    return torch.empty(count, 3584, dtype=torch.bfloat16, device=META), torch.zeros(3, count)
