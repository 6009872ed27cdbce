"""What was said in a moment that is kept, and what should have been."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..types import NS_PER_S
from .cdr import MessageDecoder, stamp_ns
from .types import BagMessage

NARRATOR = "/narration"
"""How a narrator's topic ends, whatever the node is called. /truth and others' words do not."""


@dataclass(frozen=True)
class ClipRequest:
    """What is to be kept, and what a person says about it."""

    label: str
    asked_ns: int
    """When it was asked for, by the clock that stamps messages."""
    from_ns: int
    until_ns: int
    corrected: str = ""
    """What the model should have said then; empty if nothing is known to be wrong."""


@dataclass(frozen=True)
class _Said:
    topic: str
    heard_ns: int
    start_ns: int
    end_ns: int
    text: str


def told(
    moment: ClipRequest, narrations: Iterable[BagMessage], begin_ns: int
) -> Iterator[dict[str, Any]]:
    """What one narrator said, a line each, with seconds that count from `begin_ns`.

    It is the narrator whose words were heard last when the moment was asked for, and the last
    that was heard of it has the correction. BagError if a narration can't be made out.
    """
    decoder = MessageDecoder()
    said = _of_one([_said(decoder, recorded) for recorded in narrations], moment.asked_ns)
    heard = [its for its in said if its.heard_ns <= moment.asked_ns]
    if moment.corrected and not heard:
        unsaid = _Said("", moment.asked_ns, moment.from_ns, moment.asked_ns, "")
        said, heard = [unsaid, *said], [unsaid]
    for its in said:
        yield {
            "label": moment.label,
            "topic": its.topic,
            "start_s": (its.start_ns - begin_ns) / NS_PER_S,
            "end_s": (its.end_ns - begin_ns) / NS_PER_S,
            "text": its.text,
            "corrected": moment.corrected if heard and its is heard[-1] else "",
            "start_ns": its.start_ns,
            "end_ns": its.end_ns,
        }


def _of_one(said: list[_Said], asked_ns: int) -> list[_Said]:
    """A narrator's before anybody else's; words before silence; the last before the others."""

    def rank(its: _Said) -> tuple[bool, bool, bool, int]:
        heard = its.heard_ns <= asked_ns
        return its.topic.endswith(NARRATOR), heard, bool(its.text), its.heard_ns

    # Of those with equal stamps, as simulated time has them, the last that came.
    last = max(reversed(said), key=rank, default=None)
    return [its for its in said if last and its.topic == last.topic]


def _said(decoder: MessageDecoder, recorded: BagMessage) -> _Said:
    message = decoder.decode(recorded)
    start_ns, end_ns = stamp_ns(message.start), stamp_ns(message.end)
    return _Said(recorded.topic.name, recorded.stamp_ns, start_ns, end_ns, message.text)
