"""Words with times: what should have been said, what was said, and what is asked."""

from __future__ import annotations

from dataclasses import dataclass

MODES = ("stream", "recent", "history")
"""What an answer may rest on, as in srv/Ask."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is said about [start_s, end_s), in seconds since the recording began.

    An empty text is a silence that is meant; of what no utterance is about, nothing is known.
    """

    start_s: float
    end_s: float
    text: str

    @property
    def middle_s(self) -> float:
        """Half way between its beginning and its end."""
        return (self.start_s + self.end_s) / 2


@dataclass(frozen=True, slots=True)
class TimedQuestion:
    """Asked when the recording is at `time_s`.

    With `options`, `answer` is the letter of the right one: A is the first.
    """

    time_s: float
    question: str
    answer: str
    options: tuple[str, ...] = ()
