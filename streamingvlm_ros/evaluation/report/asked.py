"""The questions of a recording with every model's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...recordings.questions import LETTERS, TimedQuestion
from ..result import Result


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or `error`: why there was none."""

    mode: str
    text: str
    error: str
    right: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, its true answer, and each model's replies, one of each mode."""

    start_s: float
    question: str
    answer: str
    options: tuple[str, ...]
    replies: tuple[tuple[Reply, ...], ...]

    @property
    def right(self) -> bool:
        """Whether every reply is right."""
        return all(reply.right for its in self.replies for reply in its)


def asked(results: Sequence[Result]) -> Iterator[Asked]:
    """Every question of the results, which are of one recording, one of each model."""
    answers = [_by_question(result) for result in results]
    questions = dict.fromkeys(question for its in answers for question in its)
    for question in questions:
        replies = tuple(tuple(its.get(question, ())) for its in answers)
        true, options = true_answer(question), lettered(question)
        yield Asked(question.time_s, question.question, true, options, replies)


def question_of(record: Result) -> TimedQuestion:
    """What was asked, of one of a result's answers."""
    its = record["asked"]
    options = tuple(its["options"])
    return TimedQuestion(its["time_s"], its["question"], its["answer"], options)


def lettered(question: TimedQuestion) -> tuple[str, ...]:
    """Its options as they were shown: `A. red`."""
    return tuple(map("{}. {}".format, LETTERS, question.options))


def true_answer(question: TimedQuestion) -> str:
    """The true answer; of options the whole one."""
    if not question.options:
        return question.answer
    return lettered(question)[LETTERS.index(question.answer)]


def _by_question(result: Result) -> dict[TimedQuestion, list[Reply]]:
    found: dict[TimedQuestion, list[Reply]] = {}
    for record in result["answers"]:
        reply = Reply(record["mode"], record["answer"], record["error"], record["right"])
        found.setdefault(question_of(record), []).append(reply)
    return found
