"""One question under way, and the desk where questions are handed in."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from queue import Queue

import pytest

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import QuestionError, StreamingVLMError
from streamingvlm_ros.frames.chunk_buffer import ChunkBuffer
from streamingvlm_ros.inbox import Inbox
from streamingvlm_ros.ros.narrator.pending_question import CANCELLED, PendingQuestion
from streamingvlm_ros.ros.narrator.question_queue import QuestionQueue
from streamingvlm_ros.ros.narrator.worker import CAMERA
from streamingvlm_ros.session import RequestEvent, Reset
from streamingvlm_ros.types import Answer, Ask, FrameSpan, Question

SPAN = FrameSpan(3, 9, "camera")
ENOUGH_S = 1e30  # more than Python can wait


def begun(*pieces: str, timeout_s: float = 0.0) -> PendingQuestion:
    pending = PendingQuestion(timeout_s)
    assert pending.on_start(SPAN)
    assert all(map(pending.on_token, pieces))
    return pending


@pytest.mark.parametrize("timeout_s", [0.0, 60.0, ENOUGH_S, float("inf")])
def test_an_answer_is_told_piece_by_piece_and_then_whole(timeout_s: float) -> None:
    pending = begun("A ", "cup", timeout_s=timeout_s)
    answer = Answer("A cup.", 1, 2, tokens=3)
    pending.on_done(answer)
    assert list(pending.pieces()) == ["A ", "cup"]
    outcome = pending.outcome()
    assert (outcome.answer, outcome.message, outcome.frame_id) == (answer, "", "camera")
    assert outcome.first_token_s > 0


def test_a_piece_is_told_while_the_answer_is_under_way() -> None:
    pending = begun("A ")
    told: Queue[str] = Queue()
    listener = threading.Thread(target=lambda: [told.put(p) for p in pending.pieces()])
    listener.start()
    assert told.get(timeout=60) == "A "
    pending.on_token("cup")
    assert told.get(timeout=60) == "cup"
    pending.end(CANCELLED)
    listener.join(60)
    assert not listener.is_alive()


def test_an_answer_that_is_ended_half_way_is_what_was_heard() -> None:
    pending = begun("A ", "", "cup")
    pending.end(CANCELLED)
    assert list(pending.pieces()) == ["A ", "cup"]
    outcome = pending.outcome()
    assert outcome.answer == Answer("A cup", 3, 9, tokens=3, complete=False)
    assert outcome.message == "cut off: it was cancelled"
    assert pending.cancelled


def test_one_that_is_ended_before_it_began_has_no_answer() -> None:
    pending = begun()
    pending.end(CANCELLED)
    outcome = pending.outcome()
    assert outcome.answer is None
    assert outcome.message == "it was cancelled before the answer began"
    assert outcome.first_token_s == 0


def test_one_that_is_ended_when_it_begins_is_told_to_stop() -> None:
    pending = PendingQuestion()
    pending.end(CANCELLED)
    assert not pending.on_start(SPAN)


def test_one_that_never_began_rests_on_nothing() -> None:
    pending = PendingQuestion()
    pending.on_done(Answer("", 0, 0, complete=True))
    assert pending.outcome().frame_id == ""


def test_pieces_that_never_cease_do_not_outlast_the_time() -> None:
    pending = PendingQuestion(timeout_s=1e-9)
    pending.on_start(SPAN)
    pieces = pending.pieces()
    for _ in range(1000):
        pending.on_token("on and ")
        if next(pieces, None) is None:
            break
    assert pending.outcome().message == "cut off: the time was up"


def test_whatever_comes_after_the_end_is_ignored() -> None:
    ended, answered = begun("A "), begun("A ")
    ended.end(CANCELLED)
    assert not ended.on_token("cup")
    ended.on_done(Answer("A cup", 1, 2))
    ended.end("something else")
    assert ended.outcome().message == "cut off: it was cancelled"
    answered.on_done(Answer("A", 1, 2))
    answered.on_done(StreamingVLMError("too late"))
    answered.end(CANCELLED)
    assert not answered.on_token("cup")
    assert not answered.cancelled
    assert answered.outcome().answer == Answer("A", 1, 2)


def test_a_refusal_is_told_as_it_is() -> None:
    pending = begun()
    pending.on_done(QuestionError("too long"))
    assert list(pending.pieces()) == []
    assert pending.outcome().message == "too long"


def test_an_answer_that_may_have_no_more_tokens_says_so() -> None:
    pending = begun("A ")
    pending.on_done(Answer("A ", 1, 2, tokens=1, complete=False))
    assert "max_tokens: 1" in pending.outcome().message


def new_desk(most: int) -> tuple[QuestionQueue, Inbox]:
    inbox = Inbox({CAMERA: ChunkBuffer(FrameConfig())}, lambda camera: Reset())
    return QuestionQueue(inbox, most), inbox


def test_a_desk_has_so_many_places_and_each_is_free_again_afterwards() -> None:
    question_queue, _ = new_desk(most=2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(question_queue.place(PendingQuestion()))
        assert len(question_queue) == 2
        with (
            pytest.raises(QuestionError, match="2 questions"),
            question_queue.place(PendingQuestion()),
        ):
            pass
    assert len(question_queue) == 0
    with question_queue.place(PendingQuestion()):
        assert len(question_queue) == 1


def test_a_question_that_ends_before_it_is_read_is_not_handed_out() -> None:
    question_queue, inbox = new_desk(most=1)
    pending = PendingQuestion(timeout_s=1e-9)
    question_queue.ask(Question("?"), pending, lambda piece: None)
    assert inbox.close() == []


def test_one_who_can_not_listen_any_more_wants_no_more() -> None:
    question_queue, inbox = new_desk(most=1)
    pending = begun("A ")

    def deaf(piece: str) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        question_queue.ask(Question("?"), pending, deaf)
    assert not pending.on_token("cup")
    assert inbox.close() == []


def test_a_desk_that_closes_ends_every_question_and_waits_until_all_have_left() -> None:
    question_queue, inbox = new_desk(most=2)
    pending, left = begun("A "), threading.Event()

    def ask() -> None:
        with question_queue.place(pending):
            question_queue.ask(Question("?"), pending, lambda piece: None)
            left.set()

    asker = threading.Thread(target=ask)
    asker.start()
    events = inbox.take(wait=True, ready=())
    assert events
    (event,) = events
    assert isinstance(event, RequestEvent)
    assert isinstance(event.request, Ask)
    assert event.camera == CAMERA
    question_queue.close("gone")
    assert left.is_set()
    assert pending.outcome().message == "cut off: gone"
    with pytest.raises(QuestionError, match="gone"), question_queue.place(PendingQuestion()):
        pass
    asker.join(60)
