"""Words with times: what should have been said, what was said, and what is asked."""

from __future__ import annotations

import re
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
        """With options, the one that is named counts, by its letter or text; else every word."""
        if self.options:
            return self._chosen(answer) == self.answer
        return plain(answer) == plain(self.answer)

    def _chosen(self, answer: str) -> str:
        """Letter of the option that is the whole answer, or the letter that it begins with, or ''.

        A letter is the whole answer, or has a bracket, point or colon after it: "A dog" has none.
        """
        for letter, option in zip(LETTERS, self.options, strict=False):
            if plain(answer).rstrip(".") == plain(option).rstrip("."):
                return letter
        named = re.match(r"\W*([A-Za-z])(?:[).:]|\W*$)", answer)
        return named[1].upper() if named else ""


def plain(text: str) -> str:
    """The text without what doesn't count: capitals, and how many spaces there are."""
    return " ".join(text.lower().split())
