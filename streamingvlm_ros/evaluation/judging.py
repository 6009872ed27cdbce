"""All models of an evaluation before the judge: each against the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .judge import Judge, Match
from .result import ORIGINAL, Result, utterances


def judge_all(judge: Judge, results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """By model, how it did against the first one, on the recordings that both have watched.

    A model that has none in common with it is left out.
    """
    told = [r for r in results if r["request"]["control"] == ORIGINAL and r.get("narration")]
    first, *others = dict.fromkeys(r["request"]["model"] for r in told) or [""]
    theirs = _of(told, first)
    matches = {model: _against(judge, _of(told, model), theirs) for model in others}
    return {model: figures(match, first) for model, match in matches.items() if match.count}


def figures(match: Match, against: str) -> dict[str, Any]:
    """What the summary says of it."""
    low, high = match.interval
    counts = {"wins": match.wins, "ties": match.ties, "losses": match.losses}
    return {"against": against, **counts, "share": match.share, "low": low, "high": high}


def _of(results: Sequence[Result], model: str) -> dict[str, Result]:
    return {r["request"]["item"]: r for r in results if r["request"]["model"] == model}


def _against(judge: Judge, ours: dict[str, Result], theirs: dict[str, Result]) -> Match:
    matches = [
        judge.compare(
            utterances(result, "reference"),
            utterances(result, "said"),
            utterances(theirs[item], "said"),
        )
        for item, result in ours.items()
        if item in theirs
    ]
    return Match(
        sum(m.wins for m in matches), sum(m.ties for m in matches), sum(m.losses for m in matches)
    )
