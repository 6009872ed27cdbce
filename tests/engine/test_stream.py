"""A stream is bounded, repeatable and independent of other streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.ledger import Kind
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.types import ChunkPart

from .conftest import CPU, Chatty, arenas_of, chunk_of

MakeEngine = Callable[..., StreamingEngine]


def say(stream: Stream, rounds: range, *, seed: int = 0) -> list[tuple[str, int, list[int]]]:
    outputs = []
    for round in rounds:
        narration = stream.step(chunk_of(round, seed=seed))
        outputs.append((narration.text, narration.tokens, stream.context_ids))
    return outputs


def test_the_cache_never_grows_past_its_capacity(make_engine: MakeEngine) -> None:
    engine = make_engine(repetition_penalty=3.0)
    stream = engine.open_stream()
    stream.step(chunk_of(0))
    arenas = [arena.data_ptr() for arena in arenas_of(engine)]
    max_cached = 0
    for round in range(1, 100):
        stream.step(chunk_of(round))
        assert stream.cached_tokens == len(stream.ledger)
        max_cached = max(max_cached, stream.cached_tokens)
    assert max_cached <= stream.capacity - stream.budget.remembered
    assert [arena.data_ptr() for arena in arenas_of(engine)] == arenas


def test_streams_share_weights_but_nothing_else(make_engine: MakeEngine) -> None:
    engine = make_engine(temperature=0.9)
    alone = {seed: say(engine.open_stream(), range(8), seed=seed) for seed in (1, 2)}
    streams = {seed: engine.open_stream() for seed in (1, 2)}
    together: dict[int, list[Any]] = {1: [], 2: []}
    for round in range(8):
        for seed, stream in streams.items():
            together[seed] += say(stream, range(round, round + 1), seed=seed)
    assert together == alone
    assert alone[1] != alone[2]


def test_a_reset_stream_is_a_new_one(make_engine: MakeEngine) -> None:
    stream = make_engine(temperature=0.9).open_stream()
    first = say(stream, range(7))
    stream.reset()
    assert stream.ledger.ids == []
    assert say(stream, range(7)) == first


def test_no_two_rounds_or_seeds_share_their_random_numbers(make_engine: MakeEngine) -> None:
    seeds = []
    for seed in range(3):
        stream = make_engine(seed=seed).open_stream()
        for round in range(4):
            stream.engine.see([(stream, ChunkPart.whole(chunk_of(round)))])
            assert stream._turn
            seeds.append(stream._turn.limits.seed % 2**32)
            stream.engine.finish(stream)
    assert len(set(seeds)) == len(seeds)


def test_times_count_from_the_first_chunk(make_engine: MakeEngine) -> None:
    engine = make_engine()
    stream = engine.open_stream()
    for round in (1_000_000, 1_000_001, 1_000_007):
        stream.step(chunk_of(round))
    times = [engine.model.chat_format.decode(s.ids) for s in stream.ledger if s.kind is Kind.TIME]
    assert times == ["Time=0.0-1.0s", "Time=1.0-2.0s", "Time=7.0-8.0s"]


def test_the_instruction_leaves_and_the_sink_of_the_previous_text_stays(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(
        instruction="say it", previous_text="mission: find the red ball", text_sink=12
    )
    stream = engine.open_stream()
    mission = engine.model.chat_format.encode("mission: find the red ball")[:12]
    for round in range(30):
        stream.step(chunk_of(round))
        kinds = {segment.kind: segment for segment in stream.ledger}
        assert (Kind.INSTRUCTION in kinds) == (round < 4)
        assert kinds[Kind.PREVIOUS_TEXT].ids[:12] == mission


def test_previous_text_that_is_too_long_is_cut_from_the_start(make_engine: MakeEngine) -> None:
    engine = make_engine(previous_text="the ball stops " * 50)
    stream = engine.open_stream()
    stream.step(chunk_of(0))
    body = next(s for s in stream.ledger if s.kind is Kind.PREVIOUS_TEXT)
    assert len(body) == 12 + 15


def test_a_round_that_reaches_the_cap_is_closed(make_engine: MakeEngine) -> None:
    engine = make_engine(max_new_tokens=3)
    stream = engine.open_stream()
    engine.runner.sampler = Chatty(engine.runner.rows, engine.model.decoder.vocabulary, device=CPU)
    narration = stream.step(chunk_of(0))
    assert narration.tokens == 3
    assert stream.context_ids[-4:] == [100, 100, 100, engine.model.chat_format.end_id]


def test_a_chunk_with_more_frames_than_a_round_holds_is_refused(make_engine: MakeEngine) -> None:
    stream = make_engine().open_stream()
    say(stream, range(3))
    before = stream.context_ids
    with pytest.raises(ConfigError, match="raise fps"):
        stream.step(chunk_of(3, frames=6))
    assert stream.context_ids == before
