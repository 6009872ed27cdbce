"""The streams for comparison with the engine's own behave as documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perf.other_streams import (
    GlancingEngine,
    GrowingEngine,
    GrowingStream,
    RecomputingEngine,
)
from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.ledger import Kind
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.engine.qwen2_5.positions import positions
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.types import ChunkPart

from .conftest import SMALL, chunk_of
from .full_forward import Recording, full_forward

WINDOW = {"fps": 2.0, "vision_rounds": 3, "text_rounds": 3, "text_sink": 4, "text_window": 8}
ROUNDS = 12


def narrated(stream: Stream) -> list[str]:
    return [stream.step(chunk_of(i, 2, fps=2.0)).text for i in range(ROUNDS)]


def small(**changes: Any) -> Settings:
    return Settings().updated({**SMALL, **WINDOW, **changes})


def test_a_recomputed_window_equals_a_full_forward_long_after_evictions(
    loaded: LoadedModel,
) -> None:
    engine = RecomputingEngine(loaded, small())
    stream = engine.open_stream()
    narrated(stream)
    recording = Recording(stream)
    stream.step(chunk_of(ROUNDS, 2, fps=2.0))
    chunks = [chunk_of(i, 2, fps=2.0) for i in range(ROUNDS - 2, ROUNDS + 1)]
    full = full_forward(loaded, stream, engine=engine, chunks=chunks)
    assert recording.logits
    for place, logits in recording.logits.items():
        assert (full[place] - logits).abs().max() < 1e-4


def test_growing_positions_equal_the_engines_until_the_first_eviction(
    loaded: LoadedModel, make_engine: Callable[..., StreamingEngine]
) -> None:
    long = {"fps": 2.0, "vision_rounds": ROUNDS, "text_rounds": ROUNDS}
    growing = GrowingEngine(loaded, small(**long)).open_stream()
    assert narrated(growing) == narrated(make_engine(**WINDOW | long).open_stream())


def test_growing_positions_only_rise_and_stay_with_their_tokens(loaded: LoadedModel) -> None:
    stream = GrowingEngine(loaded, small()).open_stream()
    assert isinstance(stream, GrowingStream)
    highest = -1.0
    for number in range(ROUNDS):
        before = {*stream.token_positions[0].tolist()}
        stream.step(chunk_of(number, 2, fps=2.0))
        held = stream.token_positions[0]
        assert len(held) == stream.cached_tokens
        new = held[held > highest]
        assert new.numel()
        assert {*held.tolist()} <= before | {*new.tolist()}
        highest = float(held.max())
    contiguous = positions(stream.ledger, 2.0)
    assert highest > 2 * float(contiguous.max())


def test_glanced_frames_are_evicted_before_the_narration(loaded: LoadedModel) -> None:
    engine = GlancingEngine(loaded, small(vision_rounds=1))
    stream = engine.open_stream()
    kinds = []
    for number in range(ROUNDS):
        engine.see([(stream, ChunkPart.whole(chunk_of(number, 2, fps=2.0)))])
        while not stream.ready:
            kinds.append([segment.kind for segment in stream.ledger])
            engine.advance()
        assert stream.cached_tokens == len(stream.ledger)
    assert len(kinds) >= ROUNDS
    assert not any(Kind.VISION in kinds_of_round for kinds_of_round in kinds)
