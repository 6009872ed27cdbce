"""Several streams on one engine: each behaves as it would alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.budget import EARLIEST_S, LATEST_S
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.errors import ConfigError, ImageError, QuestionError, StreamingVLMError
from streamingvlm_ros.types import (
    NS_PER_S,
    Answer,
    Ask,
    Chunk,
    ChunkPart,
    Frame,
    Narration,
    Question,
)

from .audience import Audience
from .conftest import SMALL, arenas_of, cached, chunk_of

MakeEngine = Callable[..., StreamingEngine]
STREAMS = 8
ROUNDS = 14
SIZES = [(56, 84), (28, 28), (84, 56), (56, 56), (112, 140), (56, 84), (28, 140), (60, 50)]


def settings_of(number: int) -> Settings:
    """Return settings that differ in window, rate, prompt and seed."""
    return Settings().updated(
        SMALL
        | {
            "vision_rounds": 2 + number % 4,
            "text_rounds": 2 + number % 3,
            "text_window": 8 + 3 * number,
            "fps": 4.0 if number % 2 else 2.0,
            "temperature": 0.9 if number in (3, 4) else 0.0,
            "seed": number,
            "previous_text": "the ball stops " * number,
        }
    )


def seen(number: int, round: int) -> Chunk:
    rate = settings_of(number).frames.fps
    return chunk_of(round, int(rate), fps=rate, seed=number, size=SIZES[number])


def attends(number: int, round: int) -> bool:
    """Return whether a stream gets this round: streams start in turn, and some pause."""
    return round >= number and (round + number) % 5 != 4


def resets(number: int, round: int) -> bool:
    """Return whether a stream is reset before this round; a question to it may be open."""
    return (number, round) in ((0, 9), (2, 8), (5, 11))


def alone(make_engine: MakeEngine, number: int) -> tuple[list[Narration], list[torch.Tensor]]:
    stream = make_engine(max_streams=1).open_stream(settings_of(number))
    narrations = []
    for round in range(ROUNDS):
        if resets(number, round):
            stream.reset()
        if attends(number, round):
            narrations.append(stream.step(seen(number, round)))
    return narrations, cached(stream)


def step_together(streams: list[Stream], round: int, *, narrations: list[list[Narration]]) -> None:
    for number, stream in enumerate(streams):
        if resets(number, round):
            stream.reset()
    due = [number for number in range(len(streams)) if attends(number, round)]
    chunks = [(streams[number], seen(number, round)) for number in due]
    for number, narration in zip(due, streams[0].engine.step(chunks), strict=True):
        narrations[number].append(narration)


@pytest.mark.parametrize("asked", [False, True], ids=["quiet", "asked"])
def test_eight_streams_together_equal_each_alone(make_engine: MakeEngine, asked: bool) -> None:
    engine = make_engine(max_streams=STREAMS, max_answer_tokens=30)
    streams = [engine.open_stream(settings_of(number)) for number in range(STREAMS)]
    narrations: list[list[Narration]] = [[] for _ in streams]
    audience = Audience()
    for round in range(ROUNDS):
        if asked and round > 2:
            audience.put(streams[round % 3], Question("what is it?"))
        step_together(streams, round, narrations=narrations)
    assert len(audience.outcomes) >= 5 * asked
    for number, stream in enumerate(streams):
        expected, arenas = alone(make_engine, number)
        assert narrations[number] == expected, f"stream {number}"
        for mine, theirs in zip(cached(stream), arenas, strict=True):
            assert (mine - theirs).abs().max() < 1e-5, f"stream {number}"


def test_resetting_or_closing_a_stream_does_not_change_the_others(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(max_streams=3, max_answer_tokens=12)
    streams = [engine.open_stream(settings_of(number)) for number in range(3)]
    narrations: list[list[Narration]] = [[] for _ in streams]
    audience = Audience()
    for round in range(ROUNDS):
        if round == 6:
            streams[2].step(seen(2, 0))
            audience.put(streams[2], Question("what?"))
            engine.see([(streams[2], ChunkPart.whole(seen(2, round)))])
            streams[2].reset()
        if round == 9:
            engine.finish(streams[2])
            streams[2].close()
            streams[2] = engine.open_stream(settings_of(2))
        step_together(streams[:2], round, narrations=narrations)
    assert isinstance(audience.outcomes[0], Answer)
    for number in (0, 1):
        assert narrations[number] == alone(make_engine, number)[0]
    assert streams[2].cached_tokens == 0


def test_a_reset_drops_the_narration_in_progress_and_restarts_the_stream(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine()
    stream = engine.open_stream()
    first = stream.step(chunk_of(0))
    engine.see([(stream, ChunkPart.whole(chunk_of(1)))])
    engine.advance()
    stream.reset()
    assert not engine.busy
    assert stream.step(chunk_of(0)) == first
    assert engine.take_rounds() == []


def test_more_streams_than_configured_are_refused(make_engine: MakeEngine) -> None:
    engine = make_engine(max_streams=2)
    first, _ = engine.open_stream(), engine.open_stream()
    with pytest.raises(ConfigError, match="max_streams"):
        engine.open_stream()
    first.close()
    assert engine.open_stream().step(chunk_of(0)).sequence == 0


def test_closing_a_stream_fails_its_questions_and_the_others_continue(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(max_answer_tokens=30)
    closed, other = engine.open_stream(), engine.open_stream()
    for stream in (closed, other):
        stream.step(chunk_of(0))
    truth = other.ask("what?")
    before, during, beside = Audience(), Audience(), Audience()
    during.put(closed, Question("what?"))
    beside.put(other, Question("what?"))
    engine.see([(closed, ChunkPart.whole(chunk_of(1)))])
    for _ in range(3):
        engine.advance()
    before.put(closed, Question("and now?"))
    closed.close()
    closed.close()
    after: list[Any] = []
    engine.ask(closed, Ask(Question("what?"), after.append))
    engine.finish(other)
    for outcome in (during.outcomes[0], before.outcomes[0], *after):
        assert isinstance(outcome, QuestionError)
        assert "closed" in str(outcome)
    assert beside.outcomes == {0: truth}
    with pytest.raises(ConfigError, match="closed"):
        closed.step(chunk_of(1))
    with pytest.raises(QuestionError, match="closed"):
        closed.ask("what?")


def test_a_closed_stream_cannot_reset_the_new_owner_of_its_row(make_engine: MakeEngine) -> None:
    engine = make_engine(max_streams=1)
    closed = engine.open_stream()
    closed.step(chunk_of(0))
    closed.close()
    stream = engine.open_stream()
    stream.step(chunk_of(0))
    with pytest.raises(ConfigError, match="closed"):
        closed.reset()
    assert stream.cached_tokens == len(stream.ledger)


def test_a_stream_that_is_named_twice_is_refused(make_engine: MakeEngine) -> None:
    engine = make_engine()
    stream = engine.open_stream()
    with pytest.raises(ConfigError, match="twice"):
        engine.step([(stream, chunk_of(0)), (stream, chunk_of(1))])
    assert stream.step(chunk_of(0)).sequence == 0


def test_a_part_that_does_not_belong_to_the_chunk_is_refused(make_engine: MakeEngine) -> None:
    engine = make_engine(fps=4.0)
    stream = engine.open_stream()
    chunk, small = chunk_of(0, 4, fps=4.0), chunk_of(0, 4, fps=4.0, size=(28, 28))
    start = ChunkPart(chunk.frames[:2], chunk.start_ns, chunk.end_ns, last=False)
    engine.see([(stream, start)])
    before = stream.context_ids
    with pytest.raises(ConfigError, match="another chunk"):
        stream.step(chunk_of(1, 2, fps=4.0))
    with pytest.raises(ImageError, match="one size"):
        engine.see([(stream, replace(start, frames=small.frames[2:], last=True))])
    with pytest.raises(ImageError, match="one size"):
        stream.engine.open_stream().step(
            replace(chunk, frames=(*chunk.frames[:2], *small.frames[2:]))
        )
    assert stream.context_ids == before
    engine.see([(stream, replace(start, frames=chunk.frames[2:], last=True))])
    engine.finish(stream)
    assert engine.take_rounds()[0].narration == engine.open_stream().step(chunk)


def test_a_chunk_that_is_refused_changes_no_stream(make_engine: MakeEngine) -> None:
    engine = make_engine()
    one, other = engine.open_stream(), engine.open_stream()
    engine.step([(one, chunk_of(0)), (other, chunk_of(0))])
    before = one.context_ids
    with pytest.raises(ConfigError, match="raise fps"):
        engine.step([(one, chunk_of(1)), (other, chunk_of(1, frames=6))])
    assert one.context_ids == before
    assert one.step(chunk_of(1)) == other.step(chunk_of(1))


def test_a_stream_that_still_narrates_takes_no_further_chunk(make_engine: MakeEngine) -> None:
    engine = make_engine()
    stream = engine.open_stream()
    engine.see([(stream, ChunkPart.whole(chunk_of(0)))])
    with pytest.raises(ConfigError, match="still narrating"):
        stream.step(chunk_of(1))


def test_larger_frames_open_a_larger_cache_once_and_nothing_is_lost(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """The window's tokens stay, as do other streams' caches and answers in progress."""
    engine, roomy = make_engine(), make_engine()
    roomy_stream = roomy.open_stream()
    roomy._make_room(roomy_stream, (1, 2, 3))
    stream, other = engine.open_stream(), engine.open_stream()
    sizes = [(28, 28)] * 6 + [(56, 84)] * 6 + [(28, 28)] * 2
    for round, size in enumerate(sizes):
        audience, truth = Audience(), None
        if round == 6:
            before = [arena.clone() for arena in cached(other)]
            truth = other.ask("what?")
            audience.put(other, Question("what?"))
        chunk = chunk_of(round, size=size)
        assert stream.step(chunk) == roomy_stream.step(chunk)
        if round < 3:
            other.step(chunk_of(round, size=(28, 28)))
        if round == 6:
            engine.finish(other)
            assert audience.outcomes == {0: truth}
            assert all(map(torch.equal, before, cached(other)))
    assert [r.message for r in caplog.records if "grows" in r.message] == [
        f"a stream's frames became larger: its cache grows from "
        f"{stream.budget.window(1)} to {stream.budget.window(6)} tokens"
    ]
    assert arenas_of(engine)[0].shape[2] > 2 * stream.capacity


def test_frames_fed_in_pairs_equal_frames_fed_at_once(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(fps=8.0)
    whole, parts = engine.open_stream(), engine.open_stream()
    for round in range(9):
        chunk = chunk_of(round, frames=7 if round == 4 else 8, fps=8.0)
        expected = whole.step(chunk)
        cuts = [0, 2, 6, len(chunk.frames), len(chunk.frames)][: 5 if round % 2 else 4]
        for start, end in pairwise(cuts):
            last = (start, end) == tuple(cuts[-2:])
            part = ChunkPart(chunk.frames[start:end], chunk.start_ns, chunk.end_ns, last=last)
            engine.see([(parts, part)])
        while not parts.ready:
            engine.advance()
        (round_of_parts,) = engine.take_rounds()
        assert round_of_parts.narration == expected
        assert round_of_parts.chunk == chunk
        assert parts.ledger == whole.ledger
    for mine, theirs in zip(cached(parts), cached(whole), strict=True):
        assert (mine - theirs).abs().max() < 1e-5


def with_images(chunk: Chunk, *shapes: tuple[int, ...]) -> Chunk:
    frames = [Frame(np.zeros(shape, np.uint8), chunk.start_ns) for shape in shapes]
    return replace(chunk, frames=tuple(frames))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (replace(chunk_of(2), frames=()), "no frames"),
        (with_images(chunk_of(2), (56, 84, 3), (84, 56, 3)), "one size"),
        (with_images(chunk_of(2), (0, 84, 3)), "images"),
        (with_images(chunk_of(2), (56, 84)), "images"),
        (replace(chunk_of(2), end_ns=10**60), "reset"),
        (replace(chunk_of(2), start_ns=-(10**600)), "reset"),
    ],
)
def test_a_chunk_that_cannot_be_encoded_changes_no_stream(
    make_engine: MakeEngine, bad: Chunk, message: str
) -> None:
    engine = make_engine()
    one, other, new = engine.open_stream(), engine.open_stream(), engine.open_stream()
    for round in range(2):
        engine.step([(one, chunk_of(round)), (other, chunk_of(round))])
    before = [arena.clone() for arena in arenas_of(engine)]
    for stream in (other, new) if "reset" not in message else (other,):
        with pytest.raises(StreamingVLMError, match=message):
            engine.step([(one, chunk_of(2)), (stream, bad)])
    assert not engine.busy
    assert all(map(torch.equal, arenas_of(engine), before))
    assert one.step(chunk_of(2)) == other.step(chunk_of(2))


@pytest.mark.parametrize("size", [(28, 28), (112, 112)])
def test_a_part_of_another_size_is_refused_and_its_chunk_continues(
    make_engine: MakeEngine, size: tuple[int, int]
) -> None:
    engine = make_engine(fps=4.0)
    one, other = engine.open_stream(), engine.open_stream()
    chunk = chunk_of(0, frames=4, fps=4.0)
    first = ChunkPart(chunk.frames[:2], chunk.start_ns, chunk.end_ns, last=False)
    engine.see([(one, first)])
    bad = chunk_of(0, frames=2, size=size).frames
    with pytest.raises(ImageError, match="one size"):
        engine.see([(one, replace(first, frames=bad, last=True))])
    engine.see([(one, replace(first, frames=chunk.frames[2:], last=True))])
    engine.finish(one)
    (round,) = engine.take_rounds()
    assert round.narration == other.step(chunk)


def test_times_at_their_limits_fit_into_the_cache(make_engine: MakeEngine) -> None:
    for furthest in (LATEST_S, EARLIEST_S):
        engine = make_engine(vision_rounds=9, text_rounds=9)
        stream, length = engine.open_stream(), 0
        stream.step(replace(chunk_of(0), start_ns=0, end_ns=0))
        for round in range(1, 12):
            time_ns = int(furthest * NS_PER_S)
            stream.step(replace(chunk_of(round), start_ns=time_ns, end_ns=time_ns))
            length = max(length, stream.cached_tokens)
        assert length + stream.budget.remembered <= stream.capacity
