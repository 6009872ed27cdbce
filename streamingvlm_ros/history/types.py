"""Entries and stored pictures of the history."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A narration or an answer about [start_ns, end_ns), in sensor time.

    `question` is empty for a narration. `text` is empty for a silent second.
    """

    text: str
    start_ns: int
    end_ns: int
    question: str = ""
    camera: str = ""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """Reference to a picture in the database. `text` is the narration for which it was chosen."""

    number: int
    run: int
    stamp_ns: int
    text: str = ""
