"""Questions to a stream: concurrent with narration and each other, with frames and moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from streamingvlm_ros.engine.chat_format import ChatFormat
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.qwen2_5.vision_encoder import VisionEncoder
from streamingvlm_ros.engine.runner import Feed, RowLimits, Runner
from streamingvlm_ros.engine.scheduler import Turn
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.errors import QuestionError, StreamingVLMError
from streamingvlm_ros.types import Answer, Ask, ChunkPart, Frame, Question

from .audience import Audience, long_ago, narrate, recent, watched
from .conftest import CPU, Chatty, cached, chunk_of

MakeEngine = Callable[..., StreamingEngine]
MIXED = (chunk_of(0).frames[0], chunk_of(0, size=(28, 28)).frames[1])
TEXTS = ["what is on the table?", "where?", "is it moving now", "z " * 9]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_questions_do_not_change_the_narration(make_engine: MakeEngine, temperature: float) -> None:
    engine = make_engine(temperature=temperature)
    quiet, asked = engine.open_stream(), engine.open_stream()
    random = np.random.default_rng(0)
    for round in range(20):
        narration = quiet.step(chunk_of(round))
        assert asked.step(chunk_of(round)) == narration
        assert asked.context_ids == quiet.context_ids
        for _ in range(int(random.integers(3))):
            kinds = [Question("what?"), recent("now?", round), long_ago("then?", 1, 2)]
            Audience().ask(asked, *random.permutation(np.array(kinds, dtype=object)))
    assert all(map(torch.equal, cached(asked), cached(quiet)))


def test_a_question_at_the_fullest_moment_fits(make_engine: MakeEngine) -> None:
    engine = make_engine(
        max_question_tokens=30, max_answer_tokens=10, repetition_penalty=3.0, questions_at_once=3
    )
    stream = engine.open_stream()
    for round in range(30):
        stream.step(chunk_of(round))
        answers = Audience().ask(stream, *[Question("z " * 14)] * 3)
        assert all(isinstance(a, Answer) and a.tokens <= 10 for a in answers)
    assert stream.cached_tokens == len(stream.ledger)


def test_concurrent_answers_equal_answers_one_at_a_time(make_engine: MakeEngine) -> None:
    engine = make_engine(repetition_penalty=1.3, max_answer_tokens=20)
    stream = watched(engine, 9)
    questions = [
        Question(TEXTS[0]),
        recent(TEXTS[1], 8),
        Question(TEXTS[2], max_tokens=3),
        long_ago(TEXTS[3], 1, 4, 5),
        Question(TEXTS[3]),
    ]
    alone = [stream.ask(question) for question in questions]
    assert len({answer.text for answer in alone}) > 2
    assert Audience().ask(stream, *questions) == alone


def test_a_question_about_the_stream_is_answered_as_its_plain_continuation(
    make_engine: MakeEngine,
) -> None:
    stream = watched(make_engine(repetition_penalty=1.3, max_answer_tokens=6), 9)
    assert stream.ask("what now?").text == continued(stream, "what now?", tokens=6)


def continued(stream: Stream, question: str, *, tokens: int) -> str:
    """Return the text after feeding the question's turn like a round's; it spoils the stream."""
    engine, state = stream.engine, stream.question(Question(question))[1]
    chat_format, runner = engine.model.chat_format, engine.runner
    if stream._turn:
        engine.scheduler.cancel(stream._turn)
    turn = chat_format.user_turn(state.round, state.span_s, question=question)
    ledger = state.ledger.append([*state.pending, *turn])
    fed = len(state.ledger)
    embedded = engine.model.decoder.embed(torch.tensor(ledger.ids_from(fed)))
    positions = engine.model.positions(ledger)[:, fed:]
    answers: list[list[int]] = []
    with torch.inference_mode():
        runner.prefill([Feed(stream.row, runner.place(stream.row), embedded, positions)])
        engine.scheduler.open(
            Turn(
                stream.row,
                RowLimits(stream.sampling, ledger.distinct_ids, seed=0, tokens=tokens),
                on_token=lambda id: True,
                on_done=lambda turn: answers.append(turn.ids),
            )
        )
        while not answers:
            engine.scheduler.step()
    return chat_format.decode(answers[0])


def test_narration_continues_unchanged_while_questions_are_answered(
    make_engine: MakeEngine,
) -> None:
    quiet, asked = (
        make_engine(max_streams=1, temperature=0.9, max_answer_tokens=9).open_stream()
        for _ in range(2)
    )
    random = np.random.default_rng(0)
    audience = Audience()

    def between() -> None:
        if random.random() < 0.4:
            audience.put(asked, Question("what?"), recent("now?", 3))

    for round in range(20):
        assert narrate(asked, chunk_of(round), between=between) == quiet.step(chunk_of(round))
        assert asked.context_ids == quiet.context_ids
    asked.engine.finish(asked)
    assert len(audience.outcomes) == audience.asked > 20
    assert all(isinstance(answer, Answer) for answer in audience.outcomes.values())
    assert all(map(torch.equal, cached(asked), cached(quiet)))


def test_answers_and_narration_advance_by_one_token_in_turn(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(max_answer_tokens=40, max_new_tokens=20)
    engine.runner.sampler = Chatty(engine.runner.rows, engine.model.decoder.vocabulary, device=CPU)
    stream = watched(engine, 2)
    order: list[str] = []

    def on_token(name: str, piece: str) -> bool:
        order.append(name)
        return True

    def between() -> None:
        order.append("N")
        if len(order) == 3:
            for name in "AB":
                engine.ask(stream, Ask(Question("?"), lambda _: None, partial(on_token, name)))

    narrate(stream, chunk_of(2), between=between)
    engine.finish(stream)
    assert "".join(order) == "NN" + "NAB" * 18 + "AB" * 22


@pytest.mark.parametrize("tokens", [0, 3])
def test_a_question_within_a_round_is_about_its_frames_and_the_text_so_far(
    make_engine: MakeEngine, tokens: int
) -> None:
    asked, plain = (
        watched(make_engine(repetition_penalty=1.3, max_answer_tokens=6), 5) for _ in range(2)
    )
    for stream in (asked, plain):
        stream.engine.see([(stream, ChunkPart.whole(chunk_of(5)))])
        for _ in range(tokens):
            stream.engine.advance()
        assert stream._turn is not None
        assert len(stream._turn.ids) == tokens
    answer = asked.ask("what now?")
    assert answer.text == continued(plain, "what now?", tokens=6)
    assert answer.seen_until_ns == chunk_of(5).frames[-1].stamp_ns


def test_a_question_between_two_frames_is_about_the_frames_before_it(
    make_engine: MakeEngine,
) -> None:
    asked, plain = (
        watched(make_engine(fps=4.0, repetition_penalty=1.3, max_answer_tokens=6), 0)
        for _ in range(2)
    )
    whole = chunk_of(0, frames=4, fps=4.0)
    first = ChunkPart(whole.frames[:2], whole.start_ns, whole.end_ns, last=False)
    for stream in (asked, plain):
        stream.engine.see([(stream, first)])
    answer = asked.ask("what now?")
    assert answer.text == continued(plain, "what now?", tokens=6)
    assert answer.seen_until_ns == whole.frames[1].stamp_ns


def test_the_context_of_an_open_answer_stays_unchanged_while_rounds_continue(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(repetition_penalty=1.3, max_answer_tokens=24, max_new_tokens=6)
    quiet, asked = watched(engine, 12), watched(engine, 12)
    truth = asked.ask("what is it?")
    assert truth.tokens > 14
    audience = Audience()
    audience.put(asked, Question("what is it?"))
    for round in range(12, 15):
        assert asked.step(chunk_of(round)) == quiet.step(chunk_of(round))
    engine.finish(asked)
    assert audience.outcomes == {0: truth}


def test_a_question_about_frames_alone_is_the_same_on_any_stream(make_engine: MakeEngine) -> None:
    engine = make_engine(repetition_penalty=1.3)
    question = recent("what now?", 3)
    answers = [watched(engine, rounds).ask(question) for rounds in (0, 1, 9)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].seen_from_ns == question.frames[0].stamp_ns
    assert answers[0].seen_until_ns == question.frames[-1].stamp_ns
    assert watched(engine, 9).ask("what now?").text != answers[0].text


def test_moments_form_a_separate_stream(make_engine: MakeEngine) -> None:
    engine = make_engine(repetition_penalty=1.3, text_rounds=9, vision_rounds=9)
    question = long_ago("what then?", 2, 7)
    answers = [watched(engine, rounds).ask(question) for rounds in (0, 9)]
    assert answers[0] == answers[1]
    assert answers[0].seen_until_ns == chunk_of(7).start_ns
    texts = {
        watched(engine, 9).ask(long_ago("what then?", *rounds)).text
        for rounds in ((2, 7), (2,), (7,), (3, 7))
    }
    assert len(texts) > 1


def test_frames_of_a_question_are_seen_at_their_own_resolution(make_engine: MakeEngine) -> None:
    question = Question("what?", frames=chunk_of(0, size=(112, 112)).frames)
    coarse = make_engine(question_frame_tokens=1).open_stream()
    fine = make_engine(question_frame_tokens=16).open_stream()
    for stream, tokens in ((coarse, 4), (fine, 16)):
        prompt, _ = stream.question(question)
        assert prompt.ids.count(stream.engine.model.chat_format.pad_id) == tokens
        assert isinstance(stream.ask(question), Answer)


def test_later_frames_do_not_change_an_earlier_answer(make_engine: MakeEngine) -> None:
    engine = make_engine(repetition_penalty=1.3)
    one, other = engine.open_stream(), engine.open_stream()
    for round in range(12):
        one.step(chunk_of(round, seed=0))
        other.step(chunk_of(round, seed=0 if round < 6 else 1))
        answers = [stream.ask("what is it?") for stream in (one, other)]
        assert (answers[0] == answers[1]) == (round < 6)


def test_the_newest_frames_change_the_answer(make_engine: MakeEngine) -> None:
    engine = make_engine(repetition_penalty=1.3)
    answers = set()
    for seed in range(4):
        stream = watched(engine, 5)
        stream.step(chunk_of(5, seed=seed))
        answers.add(stream.ask("what is it?").text)
    assert len(answers) > 1


def test_pieces_arrive_one_by_one_and_together_equal_the_answer(make_engine: MakeEngine) -> None:
    stream = watched(make_engine(repetition_penalty=1.3, max_answer_tokens=20), 5)
    audience = Audience()
    answers = audience.ask(stream, Question("what?"), recent("where?", 2))
    for number, answer in enumerate(answers):
        assert isinstance(answer, Answer)
        assert "".join(audience.pieces[number]) == answer.text
        assert sum(map(bool, audience.pieces[number])) > 3


def test_an_answer_whose_listener_stops_ends_and_the_others_continue(
    make_engine: MakeEngine,
) -> None:
    stream = watched(make_engine(repetition_penalty=1.3, max_answer_tokens=20), 5)
    whole = stream.ask("what?")
    audience = Audience({0: 4, 2: 0})
    cut, full, never = audience.ask(stream, *[Question("what?")] * 3)
    assert isinstance(cut, Answer)
    assert isinstance(never, Answer)
    assert full == whole
    assert not cut.complete
    assert cut.tokens == 4
    assert whole.text.startswith(cut.text)
    assert never == replace(whole, text="", tokens=0, complete=False)
    assert audience.order == [2, 0, 1]
    assert stream.ask("what?") == whole


def test_more_questions_than_there_are_rows_are_all_answered(make_engine: MakeEngine) -> None:
    engine = make_engine(questions_at_once=2, repetition_penalty=1.3)
    stream = watched(engine, 4)
    questions = [Question(text) for text in TEXTS] + [recent("now?", 3), long_ago("then?", 1)]
    alone = [stream.ask(question) for question in questions]
    assert Audience().ask(stream, *questions) == alone


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question(""), "empty"),
        (Question(" \n\t"), "empty"),
        (Question("word " * 10_000), "max_question_tokens"),
        (Question("what?", max_tokens=65), "max_answer_tokens"),
        (Question("what?", max_tokens=0), "max_tokens"),
        (replace(recent("what?", 1), remember=True), "remembered"),
        (long_ago("what?", *range(60)), "fewer frames"),
        (Question("what \ud800?"), "Unicode"),
        (Question("?", frames=(Frame(np.zeros((0, 4, 3), np.uint8), 0),)), "images"),
        (Question("what?", frames=MIXED), "of one size"),
    ],
)
def test_a_bad_question_gets_the_reason_and_the_others_are_answered(
    make_engine: MakeEngine, question: Question, message: str
) -> None:
    stream = watched(make_engine(question_frame_tokens=6, questions_at_once=1), 1)
    before = stream.context_ids
    with pytest.raises(QuestionError, match=message):
        stream.ask(question)
    good, bad, also = Audience().ask(stream, Question("a?"), question, Question("b?"))
    assert isinstance(good, Answer)
    assert isinstance(bad, QuestionError)
    assert isinstance(also, Answer)
    assert stream.context_ids == before


def test_white_space_around_a_question_is_ignored(make_engine: MakeEngine) -> None:
    stream = watched(make_engine(), 1)
    assert stream.ask("what?" + "\n \t" * 3000) == stream.ask("what?")


def test_a_question_before_the_first_frame_is_refused(make_engine: MakeEngine) -> None:
    with pytest.raises(QuestionError, match="nothing has been seen"):
        make_engine().open_stream().ask("what?")


def test_an_answer_names_the_frames_it_is_based_on(make_engine: MakeEngine) -> None:
    stream = watched(make_engine(vision_rounds=4), 10)
    answer = stream.ask("what moved?")
    assert answer.seen_from_ns == chunk_of(6).start_ns
    assert answer.seen_until_ns == chunk_of(9).frames[-1].stamp_ns


def test_a_question_of_megabytes_is_refused_without_counting_its_tokens(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = watched(make_engine(), 1)
    monkeypatch.delattr(ChatFormat, "encode")
    with pytest.raises(QuestionError, match="max_question_tokens"):
        stream.ask("abc " * 1_000_000)


def test_a_failing_listener_does_not_change_the_stream(make_engine: MakeEngine) -> None:
    engine = make_engine()
    stream, untouched = watched(engine, 5), watched(engine, 5)

    def fail(piece: str) -> bool:
        if piece:
            raise OSError("gone")
        return True

    engine.ask(stream, Ask(Question("what?", remember=True), print, fail))
    with pytest.raises(OSError, match="gone"):
        engine.finish(stream)
    assert stream.cached_tokens == untouched.cached_tokens
    assert stream.step(chunk_of(5)) == untouched.step(chunk_of(5))


@pytest.mark.parametrize(("owner", "method"), [(Runner, "prefill"), (VisionEncoder, "encode")])
def test_questions_that_fail_when_they_are_opened_get_the_error_and_free_their_slots(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    def run_out(*_: object) -> None:
        raise RuntimeError("out of memory")

    engine = make_engine(questions_at_once=2)
    stream = watched(engine, 2)
    truth = stream.ask("what?")
    outcomes: list[Answer | StreamingVLMError] = []
    for question in (Question("what?"), recent("now?", 1), Question("what?")):
        engine.ask(stream, Ask(question, outcomes.append))
    with monkeypatch.context() as broken:
        broken.setattr(owner, method, run_out)
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.advance()
    assert outcomes
    assert all("out of memory" in str(outcome) for outcome in outcomes)
    engine.finish(stream)
    assert len(outcomes) == 3
    assert outcomes[2] == truth
    full = Question("z " * 60)
    assert Audience().ask(stream, Question("what?"), full, full)[0] == truth


def fail(_: object) -> bool:
    raise OSError("gone")


@pytest.mark.parametrize("when", ["on_token", "on_done"])
def test_a_failing_listener_costs_no_other_turn_a_token(make_engine: MakeEngine, when: str) -> None:
    engine = make_engine(max_new_tokens=12, max_answer_tokens=9)
    stream, quiet = watched(engine, 2), watched(engine, 2)
    whole, expected = quiet.ask("what?"), quiet.step(chunk_of(2))

    outcomes: list[Answer | StreamingVLMError] = []
    listener = {"on_done": outcomes.append} | {when: fail}
    question = Question("what?", max_tokens=3)
    engine.ask(stream, Ask(question, **listener))  # type: ignore[arg-type]
    engine.ask(stream, Ask(Question("what?"), outcomes.append))
    engine.advance() if when == "on_done" else None
    engine.see([(stream, ChunkPart.whole(chunk_of(2)))])
    failures = 0
    while not stream.ready or len(outcomes) < 1:
        try:
            engine.advance()
        except OSError:
            failures += 1
    engine.finish(stream)
    (round,) = engine.take_rounds()
    assert failures == 1
    assert outcomes[-1] == whole
    assert round.narration == expected
    assert stream.cached_tokens == len(stream.ledger)


def no_question_is_open(engine: StreamingEngine) -> bool:
    questions = engine._questions
    return not engine.busy and not questions.open and not questions._slots._taken


def test_closing_a_stream_notifies_all_listeners_even_if_one_fails(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(max_streams=1)
    stream = watched(engine, 1)
    outcomes: list[Answer | StreamingVLMError] = []
    for on_done in (outcomes.append, fail, outcomes.append):
        engine.ask(stream, Ask(Question("what?"), on_done))
    engine.advance()
    with pytest.raises(OSError, match="gone"):
        stream.close()
    assert len(outcomes) == 2
    assert no_question_is_open(engine)
    assert engine.open_stream().step(chunk_of(0)).sequence == 0


@pytest.mark.parametrize("what", ["reset", "larger frames"])
def test_slots_that_an_open_answer_reads_are_not_reused(make_engine: MakeEngine, what: str) -> None:
    engine = make_engine(repetition_penalty=1.3, max_answer_tokens=40, max_frame_tokens=24)
    asked, other = watched(engine, 12), engine.open_stream()
    truth = asked.ask("what is it?")
    assert truth.tokens > 16
    audience = Audience()
    audience.put(asked, Question("what is it?"))
    if what == "reset":
        asked.step(chunk_of(12))
        asked.reset()
    else:
        asked.step(chunk_of(12, size=(112, 168)))
    for round in range(2):
        engine.step([(asked, chunk_of(round)), (other, chunk_of(round))])
    engine.finish(asked)
    assert audience.outcomes == {0: truth}
