"""Keys keep their precision, however often their text moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import load
from streamingvlm_ros.engine.window import evict

from .conftest import CHECKPOINT, SMALL, cached, chunk_of


@pytest.mark.slow
def test_after_2000_rounds_in_bfloat16_keys_equal_freshly_rotated_ones() -> None:
    settings = Settings().updated(SMALL | {"dtype": "bfloat16", "text_sink": 24, "text_window": 64})
    loaded = load(CHECKPOINT, settings.model)
    engine = StreamingEngine(loaded, settings)
    stream = engine.open_stream()
    for round in range(2_000):
        stream.step(chunk_of(round % 50))

    keys, _, unrotated = cached(stream)
    positions = engine.model.positions(stream.ledger)[:, None]
    rotary = loaded.model.model.language_model.rotary_emb
    unrotated = unrotated.float()
    fresh, _ = apply_rotary_pos_emb(unrotated, unrotated, *rotary(unrotated, positions))
    assert torch.equal(keys, fresh.bfloat16())


def test_an_eviction_keeps_the_bytes_as_they_were_written(
    make_engine: Callable[..., StreamingEngine],
) -> None:
    engine = make_engine(text_sink=8, text_window=24)
    stream = engine.open_stream()
    stream.step(chunk_of(0))
    moved = 0
    for round in range(1, 40):
        plan = evict(stream.ledger, round, window=engine.settings.window)
        _, values, unrotated = (arena[:, :, plan.slots].clone() for arena in cached(stream))
        stream.step(chunk_of(round))
        _, values_now, unrotated_now = (arena[:, :, : len(plan.slots)] for arena in cached(stream))
        assert torch.equal(unrotated_now, unrotated)
        assert torch.equal(values_now, values)
        moved += plan.first_moved < len(plan.slots)
    assert moved == 36
