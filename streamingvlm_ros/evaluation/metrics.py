"""How near what was said comes to what should have been. All scores are 0 to 1, more is better."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from ..recordings.annotations import Utterance
from ..recordings.questions import plain

EVENT_S = 2.0
"""An event may be told so many seconds early or late (StreamingBench, proactive questions)."""

_ALIKE = 0.5
"""ROUGE-L from which on two texts tell of the same event."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An utterance that should have been made, and what was said in its time."""

    reference: Utterance
    said: str

    @property
    def exact(self) -> bool:
        """Word by word; spaces and capitals don't count."""
        return plain(self.reference.text) == plain(self.said)

    @property
    def rouge_l(self) -> float:
        """ROUGE-L; 1 for silence that was meant, 0 where only one of the two is silent."""
        if not self.reference.text or not self.said:
            return float(self.reference.text == self.said)
        return alike(self.reference.text, self.said)


@dataclass(frozen=True, slots=True)
class NarrationScores:
    """Scores of a narration. None where the reference has nothing to compare with."""

    seconds: float
    """Of the reference, silent ones included. What it doesn't know is not scored."""
    exact: float
    rouge_l: float
    bleu: float | None
    coverage: float | None
    """Share of the spoken time in which something was said."""
    silence: float | None
    """Share of the silent time in which nothing was said."""
    event_precision: float | None
    event_recall: float | None
    timing_error_s: float | None
    """Median of how early or late the events are that were told."""


def score_narration(reference: Sequence[Utterance], said: Sequence[Utterance]) -> NarrationScores:
    """Both by time; `reference` must not be empty, and silences in `said` don't matter."""
    said = [s for s in said if s.text]
    pairs = align(reference, said)
    spoken = [pair for pair in pairs if pair.reference.text]
    events = [pair.reference for pair in spoken]
    known = _during(reference, said)
    errors_s = match_events(events, known)
    covered_silence = _covered([r for r in reference if not r.text], said)
    return NarrationScores(
        seconds=sum(r.end_s - r.start_s for r in reference),
        exact=float(np.mean([pair.exact for pair in pairs])),
        rouge_l=float(np.mean([pair.rouge_l for pair in pairs])),
        bleu=_bleu(spoken),
        coverage=_covered(events, said),
        silence=None if covered_silence is None else 1 - covered_silence,
        event_precision=len(errors_s) / len(known) if known else (0.0 if events else None),
        event_recall=len(errors_s) / len(events) if events else None,
        timing_error_s=float(np.median(errors_s)) if errors_s else None,
    )


def align(reference: Sequence[Utterance], said: Sequence[Utterance]) -> list[Pair]:
    """Each utterance of the reference with what was said while it lasted, by the middle."""
    middles = [s.middle_s for s in said]

    def during(r: Utterance) -> Sequence[Utterance]:
        return said[bisect_left(middles, r.start_s) : bisect_left(middles, r.end_s)]

    return [Pair(r, " ".join(s.text for s in during(r))) for r in reference]


def match_events(events: Sequence[Utterance], said: Sequence[Utterance]) -> list[float]:
    """How many seconds apart each event is from what tells of it; events nobody tells are left out.

    One tells of one: the most alike first, and of those the nearest.
    """
    starts = [s.start_s for s in said]
    near: list[tuple[float, float, int, int]] = []
    for number, event in enumerate(events):
        first = bisect_left(starts, event.start_s - EVENT_S)
        end = bisect_right(starts, event.start_s + EVENT_S)
        for other in range(first, end):
            likeness = alike(event.text, said[other].text)
            if likeness >= _ALIKE:
                near.append((-likeness, abs(event.start_s - starts[other]), number, other))
    told: dict[int, float] = {}
    used: set[int] = set()
    for _, apart_s, number, other in sorted(near):
        if number not in told and other not in used:
            told[number] = apart_s
            used.add(other)
    return list(told.values())


def alike(one: str, other: str) -> float:
    """ROUGE-L (F) of two texts of whatever script."""
    return float(_rouge().score(one, other)["rougeL"].fmeasure)


def _bleu(spoken: Sequence[Pair]) -> float | None:
    if not spoken:
        return None
    said, references = [p.said for p in spoken], [p.reference.text for p in spoken]
    return float(sacrebleu.corpus_bleu(said, [references]).score) / 100


def _covered(references: Sequence[Utterance], said: Sequence[Utterance]) -> float | None:
    """Share of the references' time in which something was said."""
    whole_s = sum(r.end_s - r.start_s for r in references)
    if not whole_s:
        return None
    spans = _merged(said)
    starts, ends = [start_s for start_s, _ in spans], [end_s for _, end_s in spans]
    both_s = 0.0
    for r in references:
        near = spans[bisect_right(ends, r.start_s) : bisect_left(starts, r.end_s)]
        both_s += sum(min(r.end_s, end_s) - max(r.start_s, start_s) for start_s, end_s in near)
    return both_s / whole_s


def _merged(said: Sequence[Utterance]) -> list[tuple[float, float]]:
    """The time in which something was said: where a clock was set back, seconds come twice."""
    spans: list[tuple[float, float]] = []
    for its in said:
        if spans and its.start_s <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], its.end_s)
        else:
            spans.append((its.start_s, its.end_s))
    return spans


def _during(references: Sequence[Utterance], said: Sequence[Utterance]) -> list[Utterance]:
    """What was said while one of the references lasted, by the middle; each once."""
    middles = [s.middle_s for s in said]
    found: set[int] = set()
    for r in references:
        found.update(range(bisect_left(middles, r.start_s), bisect_left(middles, r.end_s)))
    return [said[number] for number in sorted(found)]


class _Words:
    """Words in any script: rouge-score's own tokenizer knows a to z only."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())


@cache
def _rouge() -> RougeScorer:
    return RougeScorer(["rougeL"], tokenizer=_Words())
