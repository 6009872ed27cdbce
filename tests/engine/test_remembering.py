"""Questions that become part of a stream's context, with the shipped model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from streamingvlm_ros.config import DEMO_CHECKPOINT, settings_for
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.ledger import Kind, Segment
from streamingvlm_ros.engine.model import LoadedModel, load
from streamingvlm_ros.engine.sampler import RowSampler
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.errors import QuestionError, StreamingVLMError
from streamingvlm_ros.types import NS_PER_S, Answer, Ask, Chunk, Frame, Question

ASKED = Question("What is on the table?", remember=True)
WORLD = World(FIRST_UNSEEN_SEED)


@pytest.fixture(scope="module")
def demo() -> LoadedModel:
    return load(DEMO_CHECKPOINT, settings_for(DEMO_CHECKPOINT).model)


@pytest.fixture
def make_stream(demo: LoadedModel) -> Callable[..., Stream]:
    def make(**changes: Any) -> Stream:
        settings = settings_for(DEMO_CHECKPOINT).updated(changes)
        stream = StreamingEngine(demo, settings).open_stream()
        for second in range(3):
            stream.step(chunk(second))
        return stream

    return make


def chunk(second: int) -> Chunk:
    start_ns = second * NS_PER_S
    frames = tuple(
        Frame(WORLD.frame(second + half / 2, 112, 112), start_ns + half * NS_PER_S // 2)
        for half in range(2)
    )
    return Chunk(frames, start_ns, start_ns + NS_PER_S)


def ask(stream: Stream) -> Answer:
    answer = stream.ask(ASKED)
    assert answer.complete
    assert answer.text
    return answer


def outcomes_of(stream: Stream, *questions: Question) -> list[Answer | StreamingVLMError]:
    outcomes: list[Answer | StreamingVLMError] = []
    for question in questions:
        stream.engine.ask(stream, Ask(question, outcomes.append))
    stream.engine.finish(stream)
    return outcomes


def test_an_answer_whose_client_leaves_at_its_last_token_is_not_remembered(
    make_stream: Callable[..., Stream],
) -> None:
    stream = make_stream()
    calls = 1 + ask(make_stream()).tokens  # One more pass reads the stop token.

    def on_token(piece: str) -> bool:
        nonlocal calls
        calls -= 1
        return calls > 0

    outcomes: list[Answer | StreamingVLMError] = []
    stream.engine.ask(stream, Ask(ASKED, outcomes.append, on_token))
    stream.engine.finish(stream)
    (answer,) = outcomes
    assert calls == 0
    assert isinstance(answer, Answer)
    assert not answer.complete
    assert not stream._state.remembered


def of_round(stream: Stream, round: int) -> list[Segment]:
    return [segment for segment in stream.ledger if segment.round == round]


def test_question_and_answer_are_in_the_next_round_as_in_training(
    make_stream: Callable[..., Stream],
) -> None:
    stream = make_stream()
    chat_format, answer = stream.engine.model.chat_format, ask(stream)
    assert Kind.QUESTION not in {segment.kind for segment in stream.ledger}
    narration = stream.step(chunk(3))
    user = chat_format.user_turn(
        3, (3.0, 4.0), grid=(1, 4, 4), grid_seconds=1.0, question="What is on the table?"
    )
    assistant = chat_format.assistant_turn(3, narration.text, answer=answer.text)
    trained = [id for segment in (*user, *assistant) for id in segment.ids]
    known = sum(map(len, user)) + len(chat_format.encode(f"{answer.text}\n"))
    fed = [id for segment in of_round(stream, 3) for id in segment.ids]
    assert fed[:known] == trained[:known]
    assert [s.kind for s in of_round(stream, 3)].count(Kind.ANSWER) == 1
    assert answer.text not in narration.text
    stream.step(chunk(4))
    assert Kind.ANSWER not in {segment.kind for segment in of_round(stream, 4)}


def test_two_remembered_questions_in_one_second_are_in_the_same_round(
    make_stream: Callable[..., Stream],
) -> None:
    stream = make_stream()
    first, second = outcomes_of(stream, ASKED, ASKED)
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    stream.step(chunk(3))
    (answer,) = [s.ids for s in of_round(stream, 3) if s.kind is Kind.ANSWER]
    text = f"{first.text}\n{second.text}\n"
    assert answer == stream.engine.model.chat_format.encode(text)


def test_an_answer_moves_to_the_previous_text_when_its_round_leaves(
    make_stream: Callable[..., Stream],
) -> None:
    stream = make_stream(text_window=200)
    answer = ask(stream)
    for second in range(3, 13):
        stream.step(chunk(second))
    (body,) = [s.ids for s in stream.ledger if s.kind is Kind.PREVIOUS_TEXT]
    assert f"{answer.text}\n" in stream.engine.model.chat_format._tokenizer.decode(body)
    assert Kind.QUESTION not in {segment.kind for segment in stream.ledger}
    assert stream.cached_tokens == len(stream.ledger)


def test_remembered_text_is_bounded_and_evicted(
    make_stream: Callable[..., Stream],
) -> None:
    stream = make_stream(max_question_tokens=20, max_answer_tokens=20)
    refused = 0
    for second in range(3, 60):
        for outcome in outcomes_of(stream, ASKED, ASKED):
            if isinstance(outcome, QuestionError):
                assert "remembers as many" in str(outcome)
                refused += 1
        stream.step(chunk(second))
        assert stream._state.remembered_tokens <= stream.budget.remembered
        assert stream.cached_tokens <= stream.capacity
    assert 0 < refused < 2 * 57
    assert Kind.QUESTION in {segment.kind for segment in stream.ledger}


def test_two_questions_in_one_batch_do_not_share_the_room_for_one(
    make_stream: Callable[..., Stream],
) -> None:
    stream = make_stream(max_question_tokens=12, max_answer_tokens=20)
    first, second = outcomes_of(stream, ASKED, ASKED)
    assert isinstance(first, Answer)
    assert isinstance(second, QuestionError)


def test_a_truncated_answer_is_not_remembered(make_stream: Callable[..., Stream]) -> None:
    stream = make_stream()
    answer = stream.ask(Question(ASKED.text, max_tokens=1, remember=True))
    assert not answer.complete
    stream.step(chunk(3))
    assert Kind.ANSWER not in {segment.kind for segment in stream.ledger}


def test_a_reset_discards_answers_to_be_remembered(make_stream: Callable[..., Stream]) -> None:
    stream = make_stream()
    ask(stream)
    stream.reset()
    stream.step(chunk(0))
    assert Kind.ANSWER not in {segment.kind for segment in stream.ledger}


def test_an_answer_of_broken_characters_stays_within_its_token_limit(
    demo: LoadedModel,
) -> None:
    """Each byte is an invalid character and is encoded again as the three of a replacement."""
    settings = settings_for(DEMO_CHECKPOINT).updated({"max_answer_tokens": 40})
    engine = StreamingEngine(demo, settings)
    stream, chat_format = engine.open_stream(), engine.model.chat_format
    broken = next(id for id in range(1000) if chat_format.decode([id]) == "\ufffd")
    engine.runner.sampler = Stutters(engine, token=broken, end=chat_format.end_id)
    remembered = 0
    for second in range(20):
        stream.step(chunk(second))
        (outcome,) = outcomes_of(stream, ASKED)
        remembered += isinstance(outcome, Answer) and outcome.complete
        assert stream._state.remembered_tokens <= stream.budget.remembered
        assert stream.cached_tokens <= stream.capacity
    assert remembered > 1


class Stutters(RowSampler):
    """Repeats one token up to its limit, and then stops."""

    def __init__(self, engine: StreamingEngine, *, token: int, end: int) -> None:
        super().__init__(engine.runner.rows, engine.model.decoder.vocabulary, device=engine.device)
        self._left, self._token, self._end = engine.runner._left, token, end

    def choose(self, logits: Tensor, rows: slice) -> Tensor:
        return torch.where(self._left[rows] > 1, self._token, self._end)
