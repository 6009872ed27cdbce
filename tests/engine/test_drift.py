"""Keys do not wear out, however often the text that they belong to moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.qwen2_5.checkpoint import load
from streamingvlm_ros.engine.qwen2_5.positions import positions
from streamingvlm_ros.engine.window import evict

from .conftest import CHECKPOINT, SMALL, chunk_of


@pytest.mark.slow
def test_after_2000_rounds_in_bfloat16_keys_equal_freshly_rotated_ones() -> None:
    settings = Settings().updated(SMALL | {"dtype": "bfloat16", "text_sink": 24, "text_window": 64})
    loaded = load(CHECKPOINT, settings.model)
    engine = StreamingEngine(loaded, settings)
    stream = engine.open_stream()
    for round in range(2_000):
        stream.step(chunk_of(round % 50))

    cache, length = stream._cache, stream.cached_tokens
    places = positions(stream.ledger, engine.tokens_per_second)[:, None]
    rotary = loaded.model.model.language_model.rotary_emb
    unrotated = cache.unrotated_keys[:, :, :length].float()
    fresh, _ = apply_rotary_pos_emb(unrotated, unrotated, *rotary(unrotated, places))
    assert torch.equal(cache.keys[:, :, :length], fresh.bfloat16())


def test_what_an_eviction_keeps_is_the_very_bytes_that_were_written(
    make_engine: Callable[..., StreamingEngine],
) -> None:
    engine = make_engine(text_sink=8, text_window=24)
    stream = engine.open_stream()
    cache, moved = stream._cache, 0
    for round in range(40):
        plan = evict(stream.ledger, round, engine.settings.window)
        keys, values = (a[:, :, plan.slots].clone() for a in (cache.unrotated_keys, cache.values))
        stream.step(chunk_of(round))
        assert torch.equal(cache.unrotated_keys[:, :, : len(plan.slots)], keys)
        assert torch.equal(cache.values[:, :, : len(plan.slots)], values)
        moved += plan.first_moved < len(plan.slots)
    assert moved == 36
