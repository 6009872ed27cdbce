"""What a narrator answers to another process, for those who know no messages."""

from __future__ import annotations

from dataclasses import dataclass

from streamingvlm_ros.action import Ask
from streamingvlm_ros.msg import HistoryEntry

from ..history.types import Entry
from .conversions import to_ns


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of action/Ask.action, field by field. Stamps are 0 where there is no answer."""

    success: bool
    message: str
    answer: str
    seen_from_ns: int
    seen_until_ns: int
    moments_ns: tuple[int, ...]
    time_to_first_token_s: float
    tokens: int


def reply_of(result: Ask.Result) -> Reply:
    """An action's result."""
    return Reply(
        success=result.success,
        message=result.message,
        answer=result.answer,
        seen_from_ns=to_ns(result.seen_from),
        seen_until_ns=to_ns(result.seen_until),
        moments_ns=tuple(to_ns(stamp) for stamp in result.moments),
        time_to_first_token_s=result.time_to_first_token,
        tokens=result.tokens,
    )


def entry_of(message: HistoryEntry) -> Entry:
    """An entry of a history, from a message."""
    return Entry(
        text=message.text,
        start_ns=to_ns(message.start),
        end_ns=to_ns(message.end),
        question=message.question,
        camera=message.camera,
    )
