"""A training clip as its file describes it: seconds of a recording and their words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from streamingvlm_ros.config import FrameConfig


@dataclass(frozen=True, slots=True)
class Word:
    """One or several words that are spoken in [start_s, end_s) of the recording."""

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

    `camera` is the image topic of a bag, None if it has only one. `words` cover all of the clip:
    time without a word is silence. `exchanges` come in the rounds of their times, like remembered
    questions; `asked` are independent questions after the last round. `previous` has the words
    before the clip. `instruction` is '' if it has left the stream's window. `origin` is where
    this was read, for messages. `hold` is false for a video of an export: it has each frame that
    the model sees, so none is repeated.
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
    hold: bool = True

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


def frames_of(frames: FrameConfig, *, hold: bool) -> FrameConfig:
    """Return the settings to read a clip's frames with."""
    return frames if hold else replace(frames, hold_last_frame=0.0)
