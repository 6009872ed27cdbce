"""What the narrator says, as messages."""

from __future__ import annotations

from typing import Any, TypeVar

from streamingvlm_ros.msg import Answer, HistoryEntry, Narration

from ... import types
from ...history.types import Entry
from ...types import NS_PER_S, Question
from ..conversions import to_time
from .pending_question import Outcome

M = TypeVar("M", bound=Any)


def narration_message(narration: types.Narration, now_ns: int) -> Narration:
    """A narration as it is at `now_ns` on the node's clock, which its latency is taken from."""
    message = Narration(
        start=to_time(narration.start_ns),
        end=to_time(narration.end_ns),
        text=narration.text,
        silent=narration.silent,
        sequence=narration.sequence,
        frames=narration.frames,
        dropped=narration.dropped,
        latency=(now_ns - narration.newest_ns) / NS_PER_S,
    )
    message.header.stamp = to_time(narration.newest_ns)
    message.header.frame_id = narration.frame_id
    return message


def tell(message: M, outcome: Outcome) -> M:
    """Fill what a response, a result and a published answer have in common."""
    message.message = outcome.message
    message.time_to_first_token = outcome.first_token_s
    if outcome.answer:
        message.answer = outcome.answer.text
        message.seen_from = to_time(outcome.answer.seen_from_ns)
        message.seen_until = to_time(outcome.answer.seen_until_ns)
        message.tokens = outcome.answer.tokens
        message.moments = [to_time(stamp_ns) for stamp_ns in outcome.moments_ns]
    return message


def reply(message: M, outcome: Outcome) -> M:
    """Fill the service's response or the action's result."""
    message.success = outcome.answer is not None
    return tell(message, outcome)


def answer_message(question: Question, mode: str, outcome: Outcome, now_ns: int) -> Answer:
    """What is published of an answer that is whole at `now_ns` on the node's clock."""
    message = Answer(question=question.text, mode=mode, remembered=outcome.remembered)
    message.header.stamp = to_time(now_ns)
    message.header.frame_id = outcome.frame_id
    return tell(message, outcome)


def entry_message(entry: Entry) -> HistoryEntry:
    """What the history keeps of something that was said."""
    return HistoryEntry(
        start=to_time(entry.start_ns),
        end=to_time(entry.end_ns),
        text=entry.text,
        question=entry.question,
        camera=entry.camera,
    )
