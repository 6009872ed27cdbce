"""One line of the history."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that was said of [start_ns, end_ns), in sensor time.

    `question` is what was asked; it is empty for a narration. `text` is empty for a silent second.
    """

    text: str
    start_ns: int
    end_ns: int
    question: str = ""
    camera: str = ""
