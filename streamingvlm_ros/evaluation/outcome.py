"""What is kept of a trial: what was said, its scores, how fast it was. One JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..recordings.annotations import Utterance
from .metrics import score_narration
from .trend import trend
from .trial import Answered, TrialRecord

BIN_S = 60.0
"""Length of a bin of scores over elapsed time."""


def outcome(reference: Sequence[Utterance], observed: TrialRecord) -> dict[str, Any]:
    """Everything of a trial that the report shows; see docs/evaluation.md for the fields."""
    # Where the sensor's clock was set back, seconds come twice.
    said = sorted(observed.said, key=lambda utterance: utterance.start_s)
    return {
        "reference": [asdict(its) for its in reference],
        "said": [asdict(its) for its in said],
        "answers": [_answer(its) for its in observed.answers],
        "narration": _narration(reference, said),
        "questions": _questions(observed.answers),
        "speed": _speed(observed),
    }


def _narration(reference: Sequence[Utterance], said: Sequence[Utterance]) -> dict[str, Any] | None:
    if not reference:
        return None
    return asdict(score_narration(reference, said))


def _questions(answers: Sequence[Answered]) -> dict[str, Any]:
    """By mode: how many, the share of right answers, and that share over time."""
    return {mode: _mode([a for a in answers if a.mode == mode]) for mode in _modes(answers)}


def _mode(answers: Sequence[Answered]) -> dict[str, Any]:
    right = [float(a.right) for a in answers]
    first_ms = [1e3 * a.first_token_s for a in answers if a.first_token_s is not None]
    return {
        "count": len(answers),
        "right": float(np.mean(right)),
        "first_token_p50_ms": float(np.median(first_ms)) if first_ms else None,
        "over time": asdict(trend([a.asked.time_s for a in answers], right, BIN_S)),
    }


def _modes(answers: Sequence[Answered]) -> list[str]:
    return list(dict.fromkeys(answer.mode for answer in answers))


def _answer(answered: Answered) -> dict[str, Any]:
    return {**asdict(answered), "right": answered.right}


def _speed(observed: TrialRecord) -> dict[str, Any] | None:
    if not observed.said:
        return None
    length_s = sum(its.end_s - its.start_s for its in observed.said)
    rounds_ms = [1e3 * its for its in observed.round_s]
    return {
        "rounds": len(rounds_ms),
        "round_p50_ms": float(np.median(rounds_ms)),
        "round_p95_ms": float(np.quantile(rounds_ms, 0.95)),
        "times_real_time": length_s / sum(observed.round_s),
        "memory_mb": observed.memory_mb,
    }
