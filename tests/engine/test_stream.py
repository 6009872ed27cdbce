"""What a stream promises: bounded, repeatable, branchable, independent of other streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from streamingvlm_ros.engine.engine import Stream, StreamingEngine
from streamingvlm_ros.engine.ledger import Kind
from streamingvlm_ros.errors import ConfigError, QuestionError

from .conftest import chunk_of

MakeEngine = Callable[..., StreamingEngine]


def say(stream: Stream, rounds: range, seed: int = 0) -> list[tuple[str, int, list[int]]]:
    said = []
    for round in rounds:
        narration = stream.step(chunk_of(round, seed=seed))
        said.append((narration.text, narration.tokens, stream.context_ids))
    return said


def test_the_cache_never_grows_past_its_capacity(make_engine: MakeEngine) -> None:
    engine = make_engine(repetition_penalty=3.0)
    stream = engine.open_stream()
    arenas = [arena.data_ptr() for arena in _arenas(stream)]
    most = 0
    for round in range(100):
        stream.step(chunk_of(round))
        assert stream.cached_tokens == len(stream.ledger)
        most = max(most, stream.cached_tokens)
    asking = engine.settings.asking
    assert most <= engine.capacity() - asking.max_question_tokens - asking.max_answer_tokens
    assert [arena.data_ptr() for arena in _arenas(stream)] == arenas


def test_a_question_at_the_fullest_moment_fits(make_engine: MakeEngine) -> None:
    engine = make_engine(max_question_tokens=30, max_answer_tokens=10, repetition_penalty=3.0)
    stream = engine.open_stream()
    for round in range(30):
        stream.step(chunk_of(round))
        assert stream.ask("z " * 14).tokens <= 10
    assert stream.cached_tokens == len(stream.ledger)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_questions_leave_the_narration_as_it_was(
    make_engine: MakeEngine, temperature: float
) -> None:
    engine = make_engine(temperature=temperature)
    quiet, asked = engine.open_stream(), engine.open_stream()
    for round in range(20):
        expected = say(quiet, range(round, round + 1))
        for _ in range(round % 3):
            asked.ask("what is on the table?")
        assert say(asked, range(round, round + 1)) == expected


def test_an_answer_names_the_frames_it_rests_on(make_engine: MakeEngine) -> None:
    stream = make_engine(vision_rounds=4).open_stream()
    for round in range(10):
        stream.step(chunk_of(round))
    answer = stream.ask("what moved?")
    assert answer.seen_from_ns == chunk_of(6).start_ns
    assert answer.seen_until_ns == chunk_of(9).newest_ns


def test_a_branch_rolls_back_whatever_happened_inside(make_engine: MakeEngine) -> None:
    stream = make_engine(temperature=0.9).open_stream()
    say(stream, range(5))
    before, random = stream.context_ids, stream.sampler.random.get_state()
    with stream.branch(), stream.branch():
        stream.ask("what now?")
        with torch.inference_mode():
            stream._feed(stream._engine.dialogue.user_turn(5, 5.0, 6.0, question="and?"))
        assert stream.context_ids != before
    assert stream.context_ids == before
    assert stream.sampler.random.get_state().equal(random)
    with pytest.raises(RuntimeError, match="inside a branch"), stream.branch():
        stream.step(chunk_of(5))


def test_streams_share_weights_but_nothing_else(make_engine: MakeEngine) -> None:
    engine = make_engine(temperature=0.9)
    alone = {seed: say(engine.open_stream(), range(8), seed) for seed in (1, 2)}
    streams = {seed: engine.open_stream() for seed in (1, 2)}
    together: dict[int, list[Any]] = {1: [], 2: []}
    for round in range(8):
        for seed, stream in streams.items():
            together[seed] += say(stream, range(round, round + 1), seed)
    assert together == alone
    assert alone[1] != alone[2]


def test_a_reset_stream_is_a_new_one(make_engine: MakeEngine) -> None:
    stream = make_engine(temperature=0.9).open_stream()
    first = say(stream, range(7))
    stream.reset()
    assert stream.ledger.ids == []
    assert say(stream, range(7)) == first


def test_times_count_from_the_first_chunk(make_engine: MakeEngine) -> None:
    engine = make_engine()
    stream = engine.open_stream()
    for round in (1_000_000, 1_000_001, 1_000_007):
        stream.step(chunk_of(round))
    times = [engine.dialogue.decode(s.ids) for s in stream.ledger if s.kind is Kind.TIME]
    assert times == ["Time=0.0-1.0s", "Time=1.0-2.0s", "Time=7.0-8.0s"]


def test_the_instruction_leaves_and_the_sink_of_the_previous_text_stays(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(
        instruction="say it", previous_text="mission: find the red ball", text_sink=12
    )
    stream = engine.open_stream()
    mission = engine.dialogue.encode("mission: find the red ball")[:12]
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
    stream.sampler = _Chatty(stream)
    narration = stream.step(chunk_of(0))
    assert narration.tokens == 3
    assert stream.context_ids[-4:] == [100, 100, 100, engine.dialogue.end_id]


class _Chatty:
    """Never stops by itself."""

    def __init__(self, stream: Stream) -> None:
        self.random = stream.sampler.random

    def begin(self, context: list[int]) -> None:
        pass

    def choose(self, logits: torch.Tensor, config: Any) -> torch.Tensor:
        return torch.tensor([100])


def test_a_decode_step_has_the_same_shapes_however_full_the_cache(make_engine: MakeEngine) -> None:
    stream = make_engine().open_stream()
    recorded = []
    for round in range(6):
        say(stream, range(round, round + 1))
        with stream.branch(), _Shapes() as shapes, torch.inference_mode():
            stream._advance(torch.tensor([5]))
        recorded.append(shapes.seen)
    assert len(recorded[0]) > 100
    assert all(shapes == recorded[0] for shapes in recorded)


class _Shapes(TorchDispatchMode):
    """Records every operation with the shapes of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[int, ...]]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.seen.append((str(func), [tuple(a.shape) for a in args if hasattr(a, "shape")]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("question", "max_tokens", "message"),
    [
        ("", None, "empty"),
        (" \n\t", None, "empty"),
        ("word " * 10_000, None, "max_question_tokens"),
        ("what?", 65, "max_answer_tokens"),
        ("what?", 0, "max_tokens"),
    ],
)
def test_a_bad_question_says_what_is_wrong(
    make_engine: MakeEngine, question: str, max_tokens: int | None, message: str
) -> None:
    stream = make_engine().open_stream()
    stream.step(chunk_of(0))
    before = stream.context_ids
    with pytest.raises(QuestionError, match=message):
        stream.ask(question, max_tokens)
    assert stream.context_ids == before


def test_white_space_around_a_question_takes_no_room(make_engine: MakeEngine) -> None:
    stream = make_engine().open_stream()
    stream.step(chunk_of(0))
    assert stream.ask("what?" + "\n \t" * 3000) == stream.ask("what?")


def test_a_question_before_the_first_frame_is_refused(make_engine: MakeEngine) -> None:
    with pytest.raises(QuestionError, match="nothing has been seen"):
        make_engine().open_stream().ask("what?")


def test_a_chunk_with_more_frames_than_a_round_holds_is_refused(make_engine: MakeEngine) -> None:
    stream = make_engine().open_stream()
    say(stream, range(3))
    before = stream.context_ids
    with pytest.raises(ConfigError, match="raise fps"):
        stream.step(chunk_of(3, frames=6))
    assert stream.context_ids == before


def _arenas(stream: Stream) -> list[torch.Tensor]:
    return [stream._cache.keys, stream._cache.values, stream._cache.unrotated_keys]
