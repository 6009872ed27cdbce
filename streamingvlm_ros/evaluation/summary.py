"""Results of all recordings together: a row for each candidate under each control."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..atomic_write import write_text
from .metrics import align
from .results import (
    ORIGINAL,
    AnswerRecord,
    Judgement,
    NarrationScores,
    QuestionScores,
    Result,
    SkippedTrial,
    Speed,
    TrialResult,
    completed,
)
from .scoring import BIN_S
from .trend import Trend, trend

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrationMeans:
    """Means of narration scores, weighted by the seconds that were compared."""

    exact: float | None
    rouge_l: float | None
    bleu: float | None
    coverage: float | None
    silence: float | None
    event_precision: float | None
    event_recall: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedMeans:
    """Means of speeds, weighted by the number of rounds."""

    round_p50_ms: float | None
    round_p95_ms: float | None
    times_real_time: float | None
    memory_mb: float | None


@dataclass(slots=True, kw_only=True)
class SummaryRow:
    """The scores of a model under a control. None or empty where nothing was scored."""

    model: str
    control: str = ORIGINAL
    items: int = 0
    skipped: Mapping[str, str]
    """Reasons by item."""
    narration: NarrationMeans | None = None
    over_time: Trend | None = None
    """ROUGE-L of all items together over elapsed time."""
    questions: Mapping[str, float]
    """Mean score of the answers by mode."""
    tasks: Mapping[str, Mapping[str, float]]
    """Mean score by mode and task; empty unless the questions have more than one task."""
    speed: SpeedMeans | None = None
    judged: Judgement | None = None
    """The judge's comparison, if the model was judged."""

    @property
    def is_original(self) -> bool:
        """True if the frames were not changed by a control."""
        return self.control == ORIGINAL

    def to_json(self) -> dict[str, Any]:
        """Return the row as summary.json has it."""
        row: dict[str, Any] = {
            "model": self.model,
            "control": self.control,
            "items": self.items,
            "skipped": dict(self.skipped),
            "narration": self.narration and asdict(self.narration),
            "over time": self.over_time and asdict(self.over_time),
            "questions": dict(self.questions),
        }
        if self.tasks:
            row["tasks"] = {mode: dict(scores) for mode, scores in self.tasks.items()}
        row["speed"] = self.speed and asdict(self.speed)
        if self.judged:
            row["judged"] = asdict(self.judged)
        return row


def summarize(results: Sequence[Result]) -> list[SummaryRow]:
    """Return a row for each model and control, in the order of the results."""
    keys = dict.fromkeys((r.request.model, r.request.control) for r in results)
    return [
        _row(model, control, results=[r for r in results if _key(r) == (model, control)])
        for model, control in keys
    ]


def write_summary(folder: Path, rows: Sequence[SummaryRow]) -> None:
    """Write summary.json."""
    write_text(folder / "summary.json", json.dumps([row.to_json() for row in rows], indent=1))


def _key(result: Result) -> tuple[str, str]:
    return result.request.model, result.request.control


def _row(model: str, control: str, *, results: Sequence[Result]) -> SummaryRow:
    done = completed(results)
    narrations = [r.narration_scores for r in done if r.narration_scores]
    speeds = [r.speed for r in done if r.speed]
    return SummaryRow(
        model=model,
        control=control,
        items=len(done),
        skipped={r.request.item: r.reason for r in results if isinstance(r, SkippedTrial)},
        narration=_narration_means(narrations) if narrations else None,
        over_time=_rouge_l_over_time(done) if narrations else None,
        questions=_question_means(done),
        tasks=_task_means([answer for result in done for answer in result.answers]),
        speed=_speed_means(speeds) if speeds else None,
    )


def _narration_means(scores: Sequence[NarrationScores]) -> NarrationMeans:
    def mean(score: Callable[[NarrationScores], float | None]) -> float | None:
        return _mean(scores, score, weight=lambda s: s.seconds)

    return NarrationMeans(
        exact=mean(lambda s: s.exact),
        rouge_l=mean(lambda s: s.rouge_l),
        bleu=mean(lambda s: s.bleu),
        coverage=mean(lambda s: s.coverage),
        silence=mean(lambda s: s.silence),
        event_precision=mean(lambda s: s.event_precision),
        event_recall=mean(lambda s: s.event_recall),
    )


def _speed_means(speeds: Sequence[Speed]) -> SpeedMeans:
    def mean(figure: Callable[[Speed], float]) -> float | None:
        return _mean(speeds, figure, weight=lambda s: s.rounds)

    return SpeedMeans(
        round_p50_ms=mean(lambda s: s.round_p50_ms),
        round_p95_ms=mean(lambda s: s.round_p95_ms),
        times_real_time=mean(lambda s: s.times_real_time),
        memory_mb=mean(lambda s: s.memory_mb),
    )


def _question_means(results: Sequence[TrialResult]) -> dict[str, float]:
    scores: dict[str, list[QuestionScores]] = {}
    for result in results:
        for mode, of_mode in result.question_scores.items():
            scores.setdefault(mode, []).append(of_mode)
    return {
        mode: float(np.average([s.right for s in each], weights=[s.count for s in each]))
        for mode, each in scores.items()
    }


def _task_means(answers: Sequence[AnswerRecord]) -> dict[str, dict[str, float]]:
    """Return the mean score of every mode and task; empty if there is only one task."""
    if len({answer.task for answer in answers}) < 2:
        return {}
    scores: dict[str, dict[str, list[float]]] = {}
    for answer in answers:
        scores.setdefault(answer.mode, {}).setdefault(answer.task, []).append(answer.score)
    return {
        mode: {task: float(np.mean(each)) for task, each in tasks.items()}
        for mode, tasks in scores.items()
    }


def _mean(
    records: Sequence[T],
    value: Callable[[T], float | None],
    *,
    weight: Callable[[T], float],
) -> float | None:
    known = [(v, weight(record)) for record in records if (v := value(record)) is not None]
    if not known:
        return None
    values, weights = zip(*known, strict=True)
    return float(np.average(values, weights=weights))


def _rouge_l_over_time(results: Sequence[TrialResult]) -> Trend:
    pairs = [pair for result in results for pair in align(result.reference, result.spoken)]
    starts_s = [pair.reference.start_s for pair in pairs]
    return trend(starts_s, [pair.rouge_l for pair in pairs], bin_s=BIN_S)
