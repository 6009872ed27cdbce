"""The streams that the engine's own is compared with do what their names say."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.other_streams import GlancingStream, GrowingStream, RecomputingStream
from streamingvlm_ros.engine.engine import Stream, StreamingEngine
from streamingvlm_ros.engine.ledger import Kind
from streamingvlm_ros.engine.qwen2_5.checkpoint import LoadedModel
from streamingvlm_ros.engine.qwen2_5.positions import positions

from .conftest import chunk_of
from .test_full_forward import Listening, full_forward

WINDOW = {"fps": 2.0, "vision_rounds": 3, "text_rounds": 3, "text_sink": 4, "text_window": 8}
ROUNDS = 12


def narrated(stream: Stream) -> list[str]:
    return [stream.step(chunk_of(i, 2, 2.0)).text for i in range(ROUNDS)]


def test_a_recomputed_window_equals_a_full_forward_long_after_evictions(
    loaded: LoadedModel, make_engine: Callable[..., StreamingEngine]
) -> None:
    engine = make_engine(**WINDOW)
    stream = RecomputingStream(engine)
    narrated(stream)
    stream.sampler = listening = Listening(stream, engine.decoder.vocabulary)
    stream.step(chunk_of(ROUNDS, 2, 2.0))
    chunks = [chunk_of(i, 2, 2.0) for i in range(ROUNDS - 2, ROUNDS + 1)]
    full = full_forward(loaded, stream, engine, chunks)
    assert listening.heard
    for place, logits in listening.heard.items():
        assert (full[place] - logits).abs().max() < 1e-4


def test_growing_positions_are_the_engines_until_something_leaves(
    make_engine: Callable[..., StreamingEngine],
) -> None:
    engine = make_engine(fps=2.0, vision_rounds=ROUNDS, text_rounds=ROUNDS)
    assert narrated(GrowingStream(engine)) == narrated(Stream(engine))


def test_growing_positions_only_rise_and_stay_with_their_tokens(
    make_engine: Callable[..., StreamingEngine],
) -> None:
    stream = GrowingStream(make_engine(**WINDOW))
    highest = -1.0
    for number in range(ROUNDS):
        before = {*stream.held[0].tolist()}
        stream.step(chunk_of(number, 2, 2.0))
        held = stream.held[0]
        assert len(held) == stream.cached_tokens
        new = held[held > highest]
        assert new.numel()
        assert {*held.tolist()} <= before | {*new.tolist()}
        highest = float(held.max())
    contiguous = positions(stream.ledger, 2.0)
    assert highest > 2 * float(contiguous.max())


def test_what_was_glanced_at_is_gone_when_something_is_said(
    make_engine: Callable[..., StreamingEngine],
) -> None:
    stream = GlancingStream(make_engine(**{**WINDOW, "vision_rounds": 1}))
    kinds = []
    for number in range(ROUNDS):
        stream.step(
            chunk_of(number, 2, 2.0),
            pause=lambda: kinds.append([segment.kind for segment in stream.ledger]),
        )
        assert stream.cached_tokens == len(stream.ledger)
    assert len(kinds) >= ROUNDS
    assert not any(Kind.VISION in there for there in kinds)
