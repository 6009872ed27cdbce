"""The questions of a recording with the answers of every model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...recordings.questions import LETTERS, TimedQuestion
from ..results import AnswerRecord, TrialResult


@dataclass(frozen=True, slots=True)
class QuestionEntry:
    """A question, its true answer, and for each model its answers, one in each mode."""

    start_s: float
    question: str
    true_answer: str
    options: tuple[str, ...]
    task: str
    answers: tuple[tuple[AnswerRecord, ...], ...]

    @property
    def right(self) -> bool:
        """True if every answer is right."""
        return all(answer.right for answers in self.answers for answer in answers)


def question_entries(results: Sequence[TrialResult]) -> Iterator[QuestionEntry]:
    """Yield every question of the results, which are of one recording, one for each model."""
    by_model = [_by_question(result) for result in results]
    for question in dict.fromkeys(question for answers in by_model for question in answers):
        answers = tuple(tuple(each.get(question, ())) for each in by_model)
        yield QuestionEntry(
            start_s=question.time_s,
            question=question.question,
            true_answer=true_answer(question),
            options=lettered_options(question),
            task=next((answer.task for each in answers for answer in each), ""),
            answers=answers,
        )


def lettered_options(question: TimedQuestion) -> tuple[str, ...]:
    """Return the options as the model sees them: `A. red`."""
    return tuple(map("{}. {}".format, LETTERS, question.options))


def true_answer(question: TimedQuestion) -> str:
    """Return the true answer; for a letter, the option with its letter."""
    options = dict(zip(LETTERS, lettered_options(question), strict=False))
    return options.get(question.answer, question.answer)


def _by_question(result: TrialResult) -> dict[TimedQuestion, list[AnswerRecord]]:
    answers: dict[TimedQuestion, list[AnswerRecord]] = {}
    for answer in result.answers:
        answers.setdefault(answer.question, []).append(answer)
    return answers
