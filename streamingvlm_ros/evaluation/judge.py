"""A language model that compares two narrations: any endpoint with OpenAI's protocol."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic_write import write_text
from ..errors import EvaluationError
from ..recordings.annotations import Utterance
from .judge_endpoint import JudgeEndpoint
from .results import Judgement, Result, TrialResult, completed
from .verdict import Verdict, parse_verdict

DEFAULT_PROMPT = Path(__file__).with_name("judge_prompt.txt")
SEGMENT_S = 30.0
"""Length of the narrations that are compared at once."""

_Z = 1.96


@dataclass(frozen=True, slots=True)
class Match:
    """Counts of the comparisons that a narration won, tied and lost."""

    wins: int
    ties: int
    losses: int

    @property
    def count(self) -> int:
        """Number of comparisons."""
        return self.wins + self.ties + self.losses

    @property
    def share(self) -> float:
        """Share of wins, ties counted as half. There must be at least one comparison."""
        return (self.wins + self.ties / 2) / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share (Wilson's score interval)."""
        n, p = self.count, self.share
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return middle - half, middle + half

    def judgement(self, against: str) -> Judgement:
        """Return the figures for the summary; `against` is the other model."""
        low, high = self.interval
        return Judgement(
            against=against,
            wins=self.wins,
            ties=self.ties,
            losses=self.losses,
            share=self.share,
            low=low,
            high=high,
        )


class Judge:
    """Asks an endpoint in both orders, and caches every verdict on disk."""

    def __init__(self, url: str, model: str, *, cache: Path, prompt: Path = DEFAULT_PROMPT) -> None:
        """`url` is that of a `JudgeEndpoint`. EvaluationError for an unusable prompt or URL."""
        self._model, self._cache = model, cache
        try:
            self._prompt = prompt.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise EvaluationError(f"{prompt} can't be read: {error}") from error
        for name in ("{reference}", "{first}", "{second}"):
            if name not in self._prompt:
                raise EvaluationError(f"{prompt} lacks {name}, which a judge's prompt needs")
        self._endpoint = JudgeEndpoint(url)

    def compare(
        self,
        reference: Sequence[Utterance],
        one: Sequence[Utterance],
        *,
        other: Sequence[Utterance],
    ) -> Match:
        """Compare `one` with `other`, segment by segment of the reference."""
        verdicts = [
            self._in_both_orders(
                _transcript(reference, start_s),
                _transcript(one, start_s),
                other=_transcript(other, start_s),
            )
            for start_s in _segments(reference)
        ]
        counts = {verdict: verdicts.count(verdict) for verdict in Verdict}
        return Match(counts[Verdict.FIRST], counts[Verdict.TIE], counts[Verdict.SECOND])

    def _in_both_orders(self, reference: str, one: str, *, other: str) -> Verdict:
        """Many judges prefer the first narration: a verdict that depends on the order is a tie."""
        forward = self._verdict(reference, first=one, second=other)
        backward = self._verdict(reference, first=other, second=one)
        swapped = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}
        return forward if forward is swapped.get(backward, backward) else Verdict.TIE

    def _verdict(self, reference: str, *, first: str, second: str) -> Verdict:
        # Not str.format: a narration may hold braces.
        parts = {"{reference}": reference, "{first}": first, "{second}": second}
        text = re.sub("|".join(map(re.escape, parts)), lambda m: parts[m[0]], self._prompt)
        message = {"role": "user", "content": text}
        request = {"model": self._model, "temperature": 0, "messages": [message]}
        name = hashlib.sha256(json.dumps([self._endpoint.url, request]).encode()).hexdigest()
        file = self._cache / f"{name[:32]}.json"
        return parse_verdict(_cached_answer(file)) or self._request_verdict(request, file)

    def _request_verdict(self, request: dict[str, Any], file: Path) -> Verdict:
        """Ask, and cache the answer only if it has a verdict, so others are requested again."""
        answer = self._endpoint.reply_to(request)
        verdict = parse_verdict(answer)
        if verdict is None:
            line = " ".join(answer.split())[:200]
            raise EvaluationError(
                f"the judge answered neither 1 nor 2 nor TIE: {line} (use a --judge-model or "
                "--judge-prompt whose replies end with a line of nothing else)"
            )
        self._cache.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"asked": request, "answer": answer}, indent=1))
        return verdict


def judge_all(judge: Judge, results: Sequence[Result]) -> dict[str, Judgement]:
    """Compare each model with the first, on the recordings that both have narrated.

    Returns the judgement of each model that shares a recording with the first.
    """
    scored = [r for r in completed(results) if r.request.is_original and r.narration_scores]
    first, *others = dict.fromkeys(result.request.model for result in scored) or [""]
    baseline = _by_item(scored, first)
    matches = {model: _match(judge, _by_item(scored, model), baseline=baseline) for model in others}
    return {model: match.judgement(first) for model, match in matches.items() if match.count}


def _by_item(results: Sequence[TrialResult], model: str) -> dict[str, TrialResult]:
    return {result.request.item: result for result in results if result.request.model == model}


def _match(
    judge: Judge, results: dict[str, TrialResult], *, baseline: dict[str, TrialResult]
) -> Match:
    matches = [
        judge.compare(result.reference, result.narrations, other=baseline[item].narrations)
        for item, result in results.items()
        if item in baseline
    ]
    return Match(
        sum(m.wins for m in matches), sum(m.ties for m in matches), sum(m.losses for m in matches)
    )


def _cached_answer(file: Path) -> str:
    """Return the answer in a file, empty if the file is missing or damaged."""
    try:
        return str(json.loads(file.read_text("utf-8"))["answer"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _segments(reference: Sequence[Utterance]) -> list[float]:
    """Return the starts of the segments in which the reference is not silent."""
    spoken = [utterance for utterance in reference if utterance.text]
    return sorted({utterance.start_s // SEGMENT_S * SEGMENT_S for utterance in spoken})


def _transcript(utterances: Sequence[Utterance], start_s: float) -> str:
    """Return a line with its second for each utterance of a segment; '-' for silence."""
    lines = [
        f"{utterance.start_s:.0f} s: {utterance.text}"
        for utterance in utterances
        if utterance.text and start_s <= utterance.start_s < start_s + SEGMENT_S
    ]
    return "\n".join(lines) or "-"
