"""Scores of a trial: its narration, its answers, its speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..recordings.annotations import Utterance
from .metrics import score_narration
from .results import AnswerRecord, QuestionScores, Request, Speed, TrialResult
from .trend import trend
from .trial import TrialRecord

BIN_S = 60.0
"""Length of a bin of scores over elapsed time."""


def score_trial(
    request: Request,
    record: TrialRecord,
    *,
    reference: Sequence[Utterance],
    losses: Mapping[str, str],
) -> TrialResult:
    """Return everything that is saved of a trial. `reference` may be empty."""
    # Where the sensor's clock was set back, seconds occur twice.
    narrations = sorted(record.narrations, key=lambda utterance: utterance.start_s)
    return TrialResult(
        request=request,
        losses=losses,
        reference=tuple(reference),
        narrations=tuple(narrations),
        answers=tuple(record.answers),
        narration_scores=score_narration(reference, narrations) if reference else None,
        question_scores=_score_questions(record.answers),
        speed=_speed(record),
    )


def _score_questions(answers: Sequence[AnswerRecord]) -> dict[str, QuestionScores]:
    """Return the scores by mode, in the order in which the modes come."""
    modes = dict.fromkeys(answer.mode for answer in answers)
    return {mode: _score_mode([a for a in answers if a.mode == mode]) for mode in modes}


def _score_mode(answers: Sequence[AnswerRecord]) -> QuestionScores:
    scores = [answer.score for answer in answers]
    times_s = [answer.question.time_s for answer in answers]
    first_ms = [1e3 * a.first_token_s for a in answers if a.first_token_s is not None]
    return QuestionScores(
        count=len(answers),
        right=float(np.mean(scores)),
        first_token_p50_ms=float(np.median(first_ms)) if first_ms else None,
        over_time=trend(times_s, scores, bin_s=BIN_S),
    )


def _speed(record: TrialRecord) -> Speed | None:
    if not record.narrations:
        return None
    duration_s = sum(narration.end_s - narration.start_s for narration in record.narrations)
    rounds_ms = [1e3 * round_s for round_s in record.round_s]
    return Speed(
        rounds=len(rounds_ms),
        round_p50_ms=float(np.median(rounds_ms)),
        round_p95_ms=float(np.quantile(rounds_ms, 0.95)),
        times_real_time=duration_s / sum(record.round_s),
        memory_mb=record.memory_mb,
    )
