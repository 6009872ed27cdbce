"""Requests and replies of `~/ask`, which the service and the action share."""

from __future__ import annotations

from typing import Any, TypeVar

from streamingvlm_ros.msg import Answer

from ...errors import QuestionError
from ...types import AnswerMode, Question
from ..messages import to_time
from .question_queue import Outcome

M = TypeVar("M", bound=Any)


def checked_mode(request: Any) -> AnswerMode:
    """Check a request of the service or the action, and return its mode.

    Raises:
        QuestionError: a field has a value that can't be used.
    """
    try:
        mode = AnswerMode(request.mode or AnswerMode.STREAM)
    except ValueError as error:
        *modes, last = (mode.value for mode in AnswerMode)
        raise QuestionError(
            f"unknown mode {request.mode!r}; use {', '.join(modes)} or {last}"
        ) from error
    if request.camera:
        raise QuestionError(
            f"unknown camera {request.camera!r}: this narrator has one camera without a name; "
            "leave `camera` empty"
        )
    if not request.timeout >= 0:
        raise QuestionError(f"timeout must be 0 or more seconds, not {request.timeout}")
    if request.remember and mode is not AnswerMode.STREAM:
        raise QuestionError(
            f"a question in mode {mode.value!r} can't be remembered; use mode "
            f"{AnswerMode.STREAM.value!r}, or leave `remember` false"
        )
    return mode


def fill_result(message: M, outcome: Outcome) -> M:
    """Fill the service's response or the action's result, and return it."""
    message.success = outcome.answer is not None
    return _fill(message, outcome)


def answer_message(
    question: Question, outcome: Outcome, *, mode: AnswerMode, now_ns: int
) -> Answer:
    """Return an answer for `~/answer`, completed at `now_ns` on the node's clock."""
    message = Answer(question=question.text, mode=mode.value, remembered=outcome.remembered)
    message.header.stamp = to_time(now_ns)
    message.header.frame_id = outcome.frame_id
    return _fill(message, outcome)


def _fill(message: M, outcome: Outcome) -> M:
    message.message = outcome.message
    message.time_to_first_token = outcome.first_token_s
    if outcome.answer:
        message.answer = outcome.answer.text
        message.seen_from = to_time(outcome.answer.seen_from_ns)
        message.seen_until = to_time(outcome.answer.seen_until_ns)
        message.tokens = outcome.answer.tokens
        message.moments = [to_time(stamp_ns) for stamp_ns in outcome.moments_ns]
    return message
