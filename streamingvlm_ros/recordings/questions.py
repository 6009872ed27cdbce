"""Questions about a recording, with their right answers."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import WordsError
from ..types import NS_PER_S
from .annotation_files import JSON_LINES, convert
from .annotations import Annotation, as_text, quoted
from .bag_recording import RecordedAnswer

LETTERS = string.ascii_uppercase
"""Names of the options, in order."""

_LETTER = re.compile(
    r"""
    [\W_]*([A-Za-z])          # perhaps in brackets, quotes or asterisks
    (?: \W*$                  # alone
      | \s*[\r\n\t]           # before a line break
      | \s*[,:;!?()\[\]{}。、]  # before punctuation or a bracket
      | \s*[\u2013-\u2015]      # before a dash
      | \s*\.(?!\w\.)          # before a point that abbreviates nothing, as in "e.g."
      | \s*[-\u2010\u2212]+(?!\w) # before a hyphen that joins no word, as in "A-frame"
      | ["”»」』】*_]            # at the end of a quotation or of emphasis
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class TimedQuestion:
    """A question to ask when the recording is at `time_s`.

    With `options`, `answer` is the letter of the right one; A is the first.
    """

    time_s: float
    question: str
    answer: str
    options: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """Return the question as the model gets it, with its options."""
        if not self.options:
            return self.question
        letters = LETTERS[: len(self.options)]
        choices = "\n".join(map("{}. {}".format, letters, self.options))
        return f"{self.question}\n{choices}\nAnswer with the letter."

    def is_answered_by(self, answer: str) -> bool:
        """Return True if `answer` is right.

        With options it must name the right one, by letter or text; otherwise all words must match.
        """
        if self.options:
            return self._chosen(answer) == self.answer
        return plain(answer) == plain(self.answer)

    def _chosen(self, answer: str) -> str:
        """Return the letter of the option that the answer names; '' if it names none.

        It names an option by its whole text, or by a letter that begins the answer, alone or before
        punctuation, a dash, a bracket or a line break: "A dog" names none.
        """
        for letter, option in zip(LETTERS, self.options, strict=False):
            if plain(answer).rstrip(".") == plain(option).rstrip("."):
                return letter
        # Full-width letters and punctuation count as well.
        named = _LETTER.match(unicodedata.normalize("NFKC", answer))
        return named[1].upper() if named else ""


def plain(text: str) -> str:
    """Return the text in lower case, with single spaces."""
    return " ".join(text.lower().split())


def read_questions(path: Path) -> list[TimedQuestion]:
    """Read the questions of a .jsonl file, ordered by time.

    Lines have `time_s`, `question` and `answer`; with `options`, at most 26, `answer` is a letter.

    Raises:
        WordsError: the file can't be read.
    """
    if path.suffix.lower() != JSON_LINES:
        raise WordsError(f"can't read questions from {path}: its name must end in .jsonl")
    return sorted(convert(path, question_of), key=lambda question: question.time_s)


def question_of(annotation: Annotation) -> TimedQuestion:
    """Return the question of a line. ValueError or KeyError if a field is wrong or missing."""
    options, answer = _options(annotation), annotation.text_field("answer")
    if options and answer not in tuple(LETTERS[: len(options)]):
        raise ValueError(f"answer {answer!r} is not the letter of one of {len(options)} options")
    time_s, question = annotation.time_field("time_s"), annotation.text_field("question")
    return TimedQuestion(time_s, question, answer, options)


def questions_of(answers: Iterable[RecordedAnswer], start_ns: int) -> list[TimedQuestion]:
    """Return the questions that were answered; seconds count from `start_ns`."""
    return [
        TimedQuestion((a.seen_until_ns - start_ns) / NS_PER_S, a.question, a.answer)
        for a in answers
        if a.answer and not a.error
    ]


def _options(annotation: Annotation) -> tuple[str, ...]:
    options = annotation.fields.get("options", [])
    if not isinstance(options, list) or len(options) > len(LETTERS):
        raise ValueError(
            f"`options` must be a list of at most {len(LETTERS)}, not {quoted(options)}"
        )
    return tuple(as_text(option, "options") for option in options)
