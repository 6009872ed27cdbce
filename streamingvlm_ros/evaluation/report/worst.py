"""The moments to look at first: where a narration was farthest off, and wrong answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..metrics import Pair, align
from ..result import Result, spoken, utterances
from .asked import question_of, true_answer
from .difference import Piece, difference

SHOWN = 6
"""Moments of each kind and model."""

APART_S = 5.0
"""Two moments nearer to each other are one and the same trouble."""


_BEFORE_S = 0.001
"""A question is asked before the frame of its own time is seen."""


@dataclass(frozen=True, slots=True)
class WorstCase:
    """What should have been said at `time_s` and what was; `question` is empty for a narration.

    `seen_s` is of what there should be a picture; `score` is ROUGE-L, 0 for an answer.
    """

    item: str
    time_s: float
    seen_s: float
    should: str
    pieces: tuple[Piece, ...]
    score: float
    question: str = ""
    mode: str = ""
    error: str = ""


def worst_narrations(results: Sequence[Result]) -> list[WorstCase]:
    """Of one model's results: the lowest ROUGE-L first, of equal ones what lasts longer."""
    found = [(r["request"]["item"], pair) for r in results for pair in _pairs(r)]
    wrong = [(item, pair) for item, pair in found if pair.rouge_l < 1]
    wrong.sort(key=lambda its: (its[1].rouge_l, its[1].reference.start_s - its[1].reference.end_s))
    chosen: list[WorstCase] = []
    for item, pair in wrong:
        moment = _narration(item, pair)
        if len(chosen) < SHOWN and not any(_same(moment, other) for other in chosen):
            chosen.append(moment)
    return chosen


def wrong_answers(results: Sequence[Result]) -> list[WorstCase]:
    """Of one model's results: questions without an answer first, then by time."""
    records = [
        (result["request"]["item"], answer)
        for result in results
        for answer in result["answers"]
        if not answer["right"]
    ]
    records.sort(key=lambda its: not its[1]["error"])
    return [_answer(item, record) for item, record in records]


def _pairs(result: Result) -> Iterator[Pair]:
    yield from align(utterances(result, "reference"), spoken(result))


def _same(one: WorstCase, other: WorstCase) -> bool:
    return one.item == other.item and abs(one.time_s - other.time_s) < APART_S


def _narration(item: str, pair: Pair) -> WorstCase:
    its = pair.reference
    return WorstCase(item, its.start_s, its.middle_s, its.text, difference(pair), pair.rouge_l)


def _answer(item: str, record: Result) -> WorstCase:
    question, said = question_of(record), record["answer"]
    pieces = (Piece("more", said),) if said else ()
    return WorstCase(
        item,
        question.time_s,
        max(0.0, question.time_s - _BEFORE_S),
        true_answer(question),
        pieces,
        0.0,
        question.question,
        record["mode"],
        record["error"],
    )
