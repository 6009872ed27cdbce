"""The moments to look at first: the worst narrations and wrong answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..metrics import Pair, align
from ..results import AnswerRecord, TrialResult
from .questions import true_answer
from .text_diff import DiffSpan, text_diff

MAX_CASES = 6
"""Cases of each kind and model on the page."""

MIN_DISTANCE_S = 5.0
"""Two worst narrations nearer to each other are one case."""

_BEFORE_S = 0.001
"""A question is asked before the frame of its own time is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """A wrong narration or answer at `time_s`, and what was expected.

    `picture_s` is the time of the picture. `score` is ROUGE-L, or the answer's score. `question`
    is empty for a narration.
    """

    item: str
    time_s: float
    picture_s: float
    expected: str
    spans: tuple[DiffSpan, ...]
    score: float
    question: str = ""
    mode: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ModelCases:
    """The worst narrations and all wrong answers of a model."""

    narrations: Sequence[WorstCase]
    answers: Sequence[WorstCase]

    @property
    def on_page(self) -> list[WorstCase]:
        """The cases that the page lists."""
        return [*self.narrations, *self.answers[:MAX_CASES]]


def worst_cases(results: Sequence[TrialResult]) -> ModelCases:
    """Return the cases of one model's results."""
    return ModelCases(worst_narrations(results), wrong_answers(results))


def worst_narrations(results: Sequence[TrialResult]) -> list[WorstCase]:
    """Return the lowest ROUGE-L of one model's results, of equal scores the longest first."""
    pairs = [
        (result.request.item, pair)
        for result in results
        for pair in align(result.reference, result.spoken)
        if pair.rouge_l < 1
    ]
    cases: list[WorstCase] = []
    for item, pair in sorted(pairs, key=lambda item_and_pair: _badness(item_and_pair[1])):
        if len(cases) == MAX_CASES:
            break
        case = _narration_case(item, pair)
        if not any(_is_near(case, other) for other in cases):
            cases.append(case)
    return cases


def wrong_answers(results: Sequence[TrialResult]) -> list[WorstCase]:
    """Return one model's wrong answers: unanswered questions first, then by time."""
    wrong = [
        _answer_case(result.request.item, answer)
        for result in results
        for answer in result.answers
        if not answer.right
    ]
    return sorted(wrong, key=lambda case: not case.error)


def _badness(pair: Pair) -> tuple[float, float]:
    """Return a sort key: the worst first."""
    return pair.rouge_l, pair.reference.start_s - pair.reference.end_s


def _is_near(one: WorstCase, other: WorstCase) -> bool:
    return one.item == other.item and abs(one.time_s - other.time_s) < MIN_DISTANCE_S


def _narration_case(item: str, pair: Pair) -> WorstCase:
    return WorstCase(
        item=item,
        time_s=pair.reference.start_s,
        picture_s=pair.reference.middle_s,
        expected=pair.reference.text,
        spans=text_diff(pair),
        score=pair.rouge_l,
    )


def _answer_case(item: str, answer: AnswerRecord) -> WorstCase:
    question = answer.question
    return WorstCase(
        item=item,
        time_s=question.time_s,
        picture_s=max(0.0, question.time_s - _BEFORE_S),
        expected=true_answer(question),
        spans=(DiffSpan("added", answer.answer),) if answer.answer else (),
        score=answer.score,
        question=question.question,
        mode=answer.mode,
        error=answer.error,
    )
