"""Words with times: what should have been said, what was said, and what is asked."""

from __future__ import annotations

import string
from dataclasses import dataclass

LETTERS = string.ascii_uppercase
"""What options are called by."""


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

    @property
    def prompt(self) -> str:
        """What the model is asked."""
        if not self.options:
            return self.question
        letters = LETTERS[: len(self.options)]
        choices = "\n".join(map("{}. {}".format, letters, self.options))
        return f"{self.question}\n{choices}\nAnswer with the letter."

    def is_answered_by(self, answer: str) -> bool:
        """With options, the answer's first letter counts; else every word of it."""
        if self.options:
            return answer.strip()[:1].upper() == self.answer
        return plain(answer) == plain(self.answer)


def plain(text: str) -> str:
    """The text without what doesn't count: capitals, and how many spaces there are."""
    return " ".join(text.lower().split())
