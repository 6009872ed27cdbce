"""The lines of clip.jsonl: a narrator's words in a saved clip, and their correction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..types import NS_PER_S, to_ns
from .cdr import MessageDecoder
from .types import BagMessage, ClipRequest

_NARRATOR_SUFFIX = "/narration"
"""Ending of a narrator's topic, whatever the node's name. /truth and others don't have it."""


@dataclass(frozen=True)
class _Narration:
    topic: str
    recorded_ns: int
    start_ns: int
    end_ns: int
    text: str


def clip_lines(
    request: ClipRequest, messages: Iterable[BagMessage], *, begin_ns: int
) -> Iterator[dict[str, Any]]:
    """Yield one line for each narration of one narrator; its seconds count from `begin_ns`.

    The narrator is the one whose words came last before the request. Its last narration before
    the request gets the correction.

    Raises:
        BagError: A narration can't be decoded.
    """
    decoder = MessageDecoder()
    decoded = [_decode(decoder, message) for message in messages]
    narrations = _of_one_narrator(decoded, request.requested_ns)
    earlier = [n for n in narrations if n.recorded_ns <= request.requested_ns]
    if request.corrected and not earlier:
        silence = _Narration("", request.requested_ns, request.from_ns, request.requested_ns, "")
        narrations, earlier = [silence, *narrations], [silence]
    for narration in narrations:
        is_corrected = bool(earlier) and narration is earlier[-1]
        yield {
            "label": request.label,
            "topic": narration.topic,
            "start_s": (narration.start_ns - begin_ns) / NS_PER_S,
            "end_s": (narration.end_ns - begin_ns) / NS_PER_S,
            "text": narration.text,
            "corrected": request.corrected if is_corrected else "",
            "start_ns": narration.start_ns,
            "end_ns": narration.end_ns,
        }


def _of_one_narrator(narrations: list[_Narration], requested_ns: int) -> list[_Narration]:
    """Choose one topic: narrators before others, words before silence, the latest before others."""

    def rank(narration: _Narration) -> tuple[bool, bool, bool, int]:
        return (
            narration.topic.endswith(_NARRATOR_SUFFIX),
            narration.recorded_ns <= requested_ns,
            bool(narration.text),
            narration.recorded_ns,
        )

    # Simulated time has equal stamps; of those, take the one that arrived last.
    best = max(reversed(narrations), key=rank, default=None)
    return [n for n in narrations if best and n.topic == best.topic]


def _decode(decoder: MessageDecoder, message: BagMessage) -> _Narration:
    decoded = decoder.decode(message)
    return _Narration(
        message.topic.name,
        message.stamp_ns,
        to_ns(decoded.start),
        to_ns(decoded.end),
        decoded.text,
    )
