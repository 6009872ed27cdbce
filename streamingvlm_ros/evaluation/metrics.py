"""Scores of a narration against a reference. All are 0 to 1, and more is better."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from ..recordings.annotations import Utterance
from ..recordings.questions import plain
from .results import NarrationScores

EVENT_TOLERANCE_S = 2.0
"""How early or late an event may be narrated (StreamingBench, proactive questions)."""

_MIN_EVENT_ROUGE_L = 0.5
"""Minimum ROUGE-L of two texts that describe the same event."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An utterance of the reference, and the text that was narrated during it."""

    reference: Utterance
    text: str

    @property
    def exact(self) -> bool:
        """True if both have the same words; spaces and capitals don't count."""
        return plain(self.reference.text) == plain(self.text)

    @property
    def rouge_l(self) -> float:
        """ROUGE-L; 1 if both are silent, 0 if only one of the two is."""
        if not self.reference.text or not self.text:
            return float(self.reference.text == self.text)
        return rouge_l(self.reference.text, self.text)


def score_narration(
    reference: Sequence[Utterance], narrations: Sequence[Utterance]
) -> NarrationScores:
    """Score narrations; both sequences by time, and the reference not empty.

    Time that the reference doesn't cover is not scored. Silent narrations make no difference.
    """
    spoken = [narration for narration in narrations if narration.text]
    pairs = align(reference, spoken)
    spoken_pairs = [pair for pair in pairs if pair.reference.text]
    events = [pair.reference for pair in spoken_pairs]
    candidates = _during(reference, spoken)
    distances_s = match_events(events, candidates)
    broken_silence = _covered([r for r in reference if not r.text], spoken)
    return NarrationScores(
        seconds=sum(r.end_s - r.start_s for r in reference),
        exact=float(np.mean([pair.exact for pair in pairs])),
        rouge_l=float(np.mean([pair.rouge_l for pair in pairs])),
        bleu=_bleu(spoken_pairs),
        coverage=_covered(events, spoken),
        silence=None if broken_silence is None else 1 - broken_silence,
        event_precision=(
            len(distances_s) / len(candidates) if candidates else (0.0 if events else None)
        ),
        event_recall=len(distances_s) / len(events) if events else None,
        timing_error_s=float(np.median(distances_s)) if distances_s else None,
    )


def align(reference: Sequence[Utterance], narrations: Sequence[Utterance]) -> list[Pair]:
    """Pair each utterance of the reference with the narrations whose middle lies in it."""
    middles = [narration.middle_s for narration in narrations]

    def during(r: Utterance) -> Sequence[Utterance]:
        return narrations[bisect_left(middles, r.start_s) : bisect_left(middles, r.end_s)]

    return [Pair(r, " ".join(narration.text for narration in during(r))) for r in reference]


def match_events(events: Sequence[Utterance], narrations: Sequence[Utterance]) -> list[float]:
    """Return the distance in time, in seconds, of each event that a narration matches.

    Matches are one to one, the most similar first; among equals, the nearest in time.
    """
    starts = [narration.start_s for narration in narrations]
    near: list[tuple[float, float, int, int]] = []
    for number, event in enumerate(events):
        first = bisect_left(starts, event.start_s - EVENT_TOLERANCE_S)
        end = bisect_right(starts, event.start_s + EVENT_TOLERANCE_S)
        for other in range(first, end):
            likeness = rouge_l(event.text, narrations[other].text)
            if likeness >= _MIN_EVENT_ROUGE_L:
                near.append((-likeness, abs(event.start_s - starts[other]), number, other))
    distances_s: dict[int, float] = {}
    used: set[int] = set()
    for _, distance_s, number, other in sorted(near):
        if number not in distances_s and other not in used:
            distances_s[number] = distance_s
            used.add(other)
    return list(distances_s.values())


@lru_cache(maxsize=1 << 15)
def rouge_l(one: str, other: str) -> float:
    """Return ROUGE-L (F-score) of two texts in any script.

    Cached: scores, summary and report ask for the same pairs.
    """
    return float(_rouge().score(one, other)["rougeL"].fmeasure)


def _bleu(pairs: Sequence[Pair]) -> float | None:
    if not pairs:
        return None
    texts, references = [pair.text for pair in pairs], [pair.reference.text for pair in pairs]
    return float(sacrebleu.corpus_bleu(texts, [references]).score) / 100


def _covered(references: Sequence[Utterance], narrations: Sequence[Utterance]) -> float | None:
    """Return the share of the references' time in which something was narrated."""
    total_s = sum(r.end_s - r.start_s for r in references)
    if not total_s:
        return None
    spans = _merged_spans(narrations)
    starts, ends = [start_s for start_s, _ in spans], [end_s for _, end_s in spans]
    covered_s = 0.0
    for r in references:
        near = spans[bisect_right(ends, r.start_s) : bisect_left(starts, r.end_s)]
        covered_s += sum(min(r.end_s, end_s) - max(r.start_s, start_s) for start_s, end_s in near)
    return covered_s / total_s


def _merged_spans(narrations: Sequence[Utterance]) -> list[tuple[float, float]]:
    """Return disjoint spans: where a clock was set back, seconds occur twice."""
    spans: list[tuple[float, float]] = []
    for narration in narrations:
        if spans and narration.start_s <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], narration.end_s)
        else:
            spans.append((narration.start_s, narration.end_s))
    return spans


def _during(references: Sequence[Utterance], narrations: Sequence[Utterance]) -> list[Utterance]:
    """Return the narrations whose middle lies in one of the references, each once."""
    middles = [narration.middle_s for narration in narrations]
    numbers: set[int] = set()
    for r in references:
        numbers.update(range(bisect_left(middles, r.start_s), bisect_left(middles, r.end_s)))
    return [narrations[number] for number in sorted(numbers)]


class _WordTokenizer:
    """Words in any script: rouge-score's own tokenizer only knows a to z."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())


@cache
def _rouge() -> RougeScorer:
    return RougeScorer(["rougeL"], tokenizer=_WordTokenizer())
