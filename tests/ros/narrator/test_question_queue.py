"""A pending question, and the queue of questions."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from queue import Queue

import pytest

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import QuestionError, StreamingVLMError
from streamingvlm_ros.frames.chunk_buffer import ChunkBuffer
from streamingvlm_ros.inbox import Inbox
from streamingvlm_ros.ros.narrator.question_queue import CANCELLED, PendingQuestion, QuestionQueue
from streamingvlm_ros.ros.narrator.worker import CAMERA
from streamingvlm_ros.session import RequestEvent, Reset
from streamingvlm_ros.types import Answer, Ask, FrameSpan, Question

SPAN = FrameSpan(3, 9, "camera")
TOO_LONG_S = 1e30  # more than Python can wait
TIMEOUT_S = 180


def started(*texts: str, timeout_s: float = 0.0) -> PendingQuestion:
    pending = PendingQuestion(timeout_s)
    assert pending.on_start(SPAN)
    assert all(map(pending.on_token, texts))
    return pending


@pytest.mark.parametrize("timeout_s", [0.0, 60.0, TOO_LONG_S, float("inf")])
def test_an_answer_arrives_in_chunks_and_is_then_complete(timeout_s: float) -> None:
    pending = started("A ", "cup", timeout_s=timeout_s)
    answer = Answer("A cup.", 1, 2, tokens=3)
    pending.on_done(answer)
    assert list(pending.text_chunks()) == ["A ", "cup"]
    outcome = pending.outcome()
    assert (outcome.answer, outcome.message, outcome.frame_id) == (answer, "", "camera")
    assert outcome.first_token_s > 0


def test_a_chunk_arrives_while_the_answer_is_in_progress() -> None:
    pending = started("A ")
    texts: Queue[str] = Queue()
    reader = threading.Thread(target=lambda: [texts.put(t) for t in pending.text_chunks()])
    reader.start()
    assert texts.get(timeout=TIMEOUT_S) == "A "
    pending.on_token("cup")
    assert texts.get(timeout=TIMEOUT_S) == "cup"
    pending.cancel(CANCELLED)
    reader.join(TIMEOUT_S)
    assert not reader.is_alive()


def test_a_cancelled_answer_is_the_text_so_far() -> None:
    pending = started("A ", "", "cup")
    pending.cancel(CANCELLED)
    assert list(pending.text_chunks()) == ["A ", "cup"]
    outcome = pending.outcome()
    assert outcome.answer == Answer("A cup", 3, 9, tokens=3, complete=False)
    assert outcome.message == "truncated: cancelled"
    assert pending.cancelled


def test_a_question_cancelled_before_its_first_token_has_no_answer() -> None:
    pending = started()
    pending.cancel(CANCELLED)
    outcome = pending.outcome()
    assert outcome.answer is None
    assert outcome.message == "cancelled before the first token"
    assert outcome.first_token_s == 0


def test_a_question_cancelled_before_its_start_stops_the_engine() -> None:
    pending = PendingQuestion()
    pending.cancel(CANCELLED)
    assert not pending.on_start(SPAN)


def test_a_question_that_never_started_has_no_frames() -> None:
    pending = PendingQuestion()
    pending.on_done(Answer("", 0, 0, complete=True))
    assert pending.outcome().frame_id == ""


def test_the_timeout_ends_an_answer_that_never_stops() -> None:
    pending = PendingQuestion(timeout_s=1e-9)
    pending.on_start(SPAN)
    texts = pending.text_chunks()
    for _ in range(1000):
        pending.on_token("on and ")
        if next(texts, None) is None:
            break
    assert pending.outcome().message == "truncated: timeout"


def test_events_after_the_end_are_ignored() -> None:
    ended, answered = started("A "), started("A ")
    ended.cancel(CANCELLED)
    assert not ended.on_token("cup")
    ended.on_done(Answer("A cup", 1, 2))
    ended.cancel("something else")
    assert ended.outcome().message == "truncated: cancelled"
    answered.on_done(Answer("A", 1, 2))
    answered.on_done(StreamingVLMError("too late"))
    answered.cancel(CANCELLED)
    assert not answered.on_token("cup")
    assert not answered.cancelled
    assert answered.outcome().answer == Answer("A", 1, 2)


def test_an_error_becomes_the_message() -> None:
    pending = started()
    pending.on_done(QuestionError("too long"))
    assert list(pending.text_chunks()) == []
    assert pending.outcome().message == "too long"


def test_an_answer_that_reaches_the_token_limit_names_it() -> None:
    pending = started("A ")
    pending.on_done(Answer("A ", 1, 2, tokens=1, complete=False))
    assert "max_tokens: 1" in pending.outcome().message


def new_queue(max_pending: int) -> tuple[QuestionQueue, Inbox]:
    inbox = Inbox({CAMERA: ChunkBuffer(FrameConfig())}, lambda camera: Reset())
    return QuestionQueue(inbox, max_pending), inbox


def test_the_queue_has_limited_slots_and_frees_them() -> None:
    queue, _ = new_queue(max_pending=2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(queue.slot(PendingQuestion()))
        assert len(queue) == 2
        with (
            pytest.raises(QuestionError, match="2 questions"),
            queue.slot(PendingQuestion()),
        ):
            pass
    assert len(queue) == 0
    with queue.slot(PendingQuestion()):
        assert len(queue) == 1


def test_a_question_that_ends_before_the_engine_takes_it_is_withdrawn() -> None:
    queue, inbox = new_queue(max_pending=1)
    pending = PendingQuestion(timeout_s=1e-9)
    queue.ask(Question("?"), pending, on_text=lambda text: None)
    assert inbox.close() == []


def test_an_error_of_the_client_cancels_the_question() -> None:
    queue, inbox = new_queue(max_pending=1)
    pending = started("A ")

    def fail(text: str) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        queue.ask(Question("?"), pending, on_text=fail)
    assert not pending.on_token("cup")
    assert inbox.close() == []


def test_closing_the_queue_cancels_all_questions_and_waits_for_their_threads() -> None:
    queue, inbox = new_queue(max_pending=2)
    pending, returned = started("A "), threading.Event()

    def ask() -> None:
        with queue.slot(pending):
            queue.ask(Question("?"), pending, on_text=lambda text: None)
            returned.set()

    client = threading.Thread(target=ask)
    client.start()
    events = inbox.take(wait=True, ready=())
    assert events
    (event,) = events
    assert isinstance(event, RequestEvent)
    assert isinstance(event.request, Ask)
    assert event.camera == CAMERA
    queue.close("closed")
    assert returned.is_set()
    assert pending.outcome().message == "truncated: closed"
    with pytest.raises(QuestionError, match="closed"), queue.slot(PendingQuestion()):
        pass
    client.join(TIMEOUT_S)
