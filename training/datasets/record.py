"""A clip as its files describe it: which seconds of which recording, and what is said in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or several, that are said in [start_s, end_s) of the recording."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question at `time_s` of the recording, and its answer."""

    time_s: float
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """[start_s, end_s) of a bag or a video, seconds since it began.

    `camera` is the image topic of a bag, None if there is one only. `words` cover all of the clip:
    where there is none, silence is meant. `exchanges` stand in the rounds of
    their times, as a remembered question does; `asked` are questions after the last round, of
    which none knows the others. `previous` is what was said before; `instruction` is '' for a
    clip whose stream's instruction has left. `origin` is where this was read, for messages.
    """

    recording: Path
    start_s: float
    end_s: float
    words: tuple[Word, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    asked: tuple[Exchange, ...] = ()
    previous: str = ""
    instruction: str = ""
    camera: str | None = None
    origin: str = ""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s
