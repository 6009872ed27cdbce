"""One question under way, and the desk where questions are handed in."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from queue import Queue

import pytest
from streamingvlm_ros.ros.narrator.node.pending_question import CANCELLED, Inquiry
from streamingvlm_ros.ros.narrator.node.question_queue import Desk
from streamingvlm_ros.ros.narrator.node.worker import CAMERA

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import QuestionError, StreamingVLMError
from streamingvlm_ros.frames.chunk_buffer import ChunkBuffer
from streamingvlm_ros.inbox import Inbox
from streamingvlm_ros.session import RequestEvent, Reset
from streamingvlm_ros.types import Answer, Ask, FrameSpan, Question

SPAN = FrameSpan(3, 9, "camera")
ENOUGH_S = 1e30  # more than Python can wait


def begun(*pieces: str, timeout_s: float = 0.0) -> Inquiry:
    inquiry = Inquiry(timeout_s)
    assert inquiry.on_start(SPAN)
    assert all(map(inquiry.on_token, pieces))
    return inquiry


@pytest.mark.parametrize("timeout_s", [0.0, 60.0, ENOUGH_S, float("inf")])
def test_an_answer_is_told_piece_by_piece_and_then_whole(timeout_s: float) -> None:
    inquiry = begun("A ", "cup", timeout_s=timeout_s)
    answer = Answer("A cup.", 1, 2, tokens=3)
    inquiry.on_done(answer)
    assert list(inquiry.pieces()) == ["A ", "cup"]
    outcome = inquiry.outcome()
    assert (outcome.answer, outcome.message, outcome.frame_id) == (answer, "", "camera")
    assert outcome.first_token_s > 0


def test_a_piece_is_told_while_the_answer_is_under_way() -> None:
    inquiry = begun("A ")
    told: Queue[str] = Queue()
    listener = threading.Thread(target=lambda: [told.put(p) for p in inquiry.pieces()])
    listener.start()
    assert told.get(timeout=60) == "A "
    inquiry.on_token("cup")
    assert told.get(timeout=60) == "cup"
    inquiry.end(CANCELLED)
    listener.join(60)
    assert not listener.is_alive()


def test_an_answer_that_is_ended_half_way_is_what_was_heard() -> None:
    inquiry = begun("A ", "", "cup")
    inquiry.end(CANCELLED)
    assert list(inquiry.pieces()) == ["A ", "cup"]
    outcome = inquiry.outcome()
    assert outcome.answer == Answer("A cup", 3, 9, tokens=3, complete=False)
    assert outcome.message == "cut off: it was cancelled"
    assert inquiry.cancelled


def test_one_that_is_ended_before_it_began_has_no_answer() -> None:
    inquiry = begun()
    inquiry.end(CANCELLED)
    outcome = inquiry.outcome()
    assert outcome.answer is None
    assert outcome.message == "it was cancelled before the answer began"
    assert outcome.first_token_s == 0


def test_one_that_is_ended_when_it_begins_is_told_to_stop() -> None:
    inquiry = Inquiry()
    inquiry.end(CANCELLED)
    assert not inquiry.on_start(SPAN)


def test_one_that_never_began_rests_on_nothing() -> None:
    inquiry = Inquiry()
    inquiry.on_done(Answer("", 0, 0, complete=True))
    assert inquiry.outcome().frame_id == ""


def test_pieces_that_never_cease_do_not_outlast_the_time() -> None:
    inquiry = Inquiry(timeout_s=1e-9)
    inquiry.on_start(SPAN)
    pieces = inquiry.pieces()
    for _ in range(1000):
        inquiry.on_token("on and ")
        if next(pieces, None) is None:
            break
    assert inquiry.outcome().message == "cut off: the time was up"


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
    inquiry = begun()
    inquiry.on_done(QuestionError("too long"))
    assert list(inquiry.pieces()) == []
    assert inquiry.outcome().message == "too long"


def test_an_answer_that_may_have_no_more_tokens_says_so() -> None:
    inquiry = begun("A ")
    inquiry.on_done(Answer("A ", 1, 2, tokens=1, complete=False))
    assert "max_tokens: 1" in inquiry.outcome().message


def new_desk(most: int) -> tuple[Desk, Inbox]:
    inbox = Inbox({CAMERA: ChunkBuffer(FrameConfig())}, lambda camera: Reset())
    return Desk(inbox, most), inbox


def test_a_desk_has_so_many_places_and_each_is_free_again_afterwards() -> None:
    desk, _ = new_desk(most=2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(desk.place(Inquiry()))
        assert len(desk) == 2
        with pytest.raises(QuestionError, match="2 questions"), desk.place(Inquiry()):
            pass
    assert len(desk) == 0
    with desk.place(Inquiry()):
        assert len(desk) == 1


def test_a_question_that_ends_before_it_is_read_is_not_handed_out() -> None:
    desk, inbox = new_desk(most=1)
    inquiry = Inquiry(timeout_s=1e-9)
    desk.ask(Question("?"), inquiry, lambda piece: None)
    assert inbox.close() == []


def test_one_who_can_not_listen_any_more_wants_no_more() -> None:
    desk, inbox = new_desk(most=1)
    inquiry = begun("A ")

    def deaf(piece: str) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        desk.ask(Question("?"), inquiry, deaf)
    assert not inquiry.on_token("cup")
    assert inbox.close() == []


def test_a_desk_that_closes_ends_every_question_and_waits_until_all_have_left() -> None:
    desk, inbox = new_desk(most=2)
    inquiry, left = begun("A "), threading.Event()

    def ask() -> None:
        with desk.place(inquiry):
            desk.ask(Question("?"), inquiry, lambda piece: None)
            left.set()

    asker = threading.Thread(target=ask)
    asker.start()
    events = inbox.take(wait=True, ready=())
    assert events
    (event,) = events
    assert isinstance(event, RequestEvent)
    assert isinstance(event.request, Ask)
    assert event.camera == CAMERA
    desk.close("gone")
    assert left.is_set()
    assert inquiry.outcome().message == "cut off: gone"
    with pytest.raises(QuestionError, match="gone"), desk.place(Inquiry()):
        pass
    asker.join(60)
