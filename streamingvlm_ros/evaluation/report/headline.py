"""The first lines of the page: what was compared, and the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...plural import plural
from ...time_format import format_clock
from ..results import ORIGINAL, Request, Result, SettingValue, SkippedTrial, TrialResult
from ..summary import SummaryRow
from .timeline import end_s


@dataclass(frozen=True, slots=True)
class RankedScore:
    """A score (0 to 1) of a model, or of the best model under a control."""

    label: str
    score: float
    is_control: bool


_CONTROL_LABELS = {
    ORIGINAL: "",
    "no frames": "without frames",
    "shuffled frames": "with shuffled frames",
}


def overview(results: Mapping[str, Sequence[TrialResult]], rows: Sequence[SummaryRow]) -> str:
    """Return how many models were compared, and on how much; `results` are by recording."""
    one_each = [trials[0] for trials in results.values()]
    utterances = sum(len(result.reference) for result in one_each)
    questions = sum(len({a.question for a in result.answers}) for result in one_each)
    duration = format_clock(sum(end_s(trials) for trials in results.values()))
    parts = [
        f"{plural(len({row.model for row in rows}), 'model')} on "
        f"{plural(len(results), 'recording')} ({duration} in total)",
        plural(utterances, "reference utterance") if utterances else "",
        plural(questions, "question") if questions else "",
        "with controls" if any(not row.is_original for row in rows) else "",
    ]
    return ", ".join(filter(None, parts)) + "."


def rankings(rows: Sequence[SummaryRow]) -> dict[str, list[RankedScore]]:
    """Return for each score all models, best first, and then the controls of the best."""
    modes = dict.fromkeys(mode for row in rows for mode in row.questions)
    narration = [(row, row.narration.rouge_l if row.narration else None) for row in rows]
    ranked = {"Narration (ROUGE-L)": _rank(narration)}
    for mode in modes:
        scores = [(row, row.questions.get(mode)) for row in rows]
        ranked[f"Right answers ({mode})"] = _rank(scores)
    return {title: scores for title, scores in ranked.items() if scores}


def skipped_trials(results: Sequence[Result]) -> dict[tuple[str, str], list[str]]:
    """Return the models that were skipped, by recording and reason."""
    trials: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if isinstance(result, SkippedTrial):
            key = result.request.item, result.reason
            trials.setdefault(key, []).append(_label(result.request))
    return trials


def differing_settings(
    results: Sequence[TrialResult],
) -> dict[str, dict[str, SettingValue | None]]:
    """Return the settings that differ between models: each model's value by setting."""
    models = {result.request.model: result.request.settings for result in results}
    names = dict.fromkeys(name for settings in models.values() for name in settings)
    return {
        name: {model: settings.get(name) for model, settings in models.items()}
        for name in names
        if len({str(settings.get(name)) for settings in models.values()}) > 1
    }


def _rank(scores: Sequence[tuple[SummaryRow, float | None]]) -> list[RankedScore]:
    known = [(row, score) for row, score in scores if score is not None]
    models = sorted(
        ((row, score) for row, score in known if row.is_original), key=lambda pair: -pair[1]
    )
    return [RankedScore(row.model, score, is_control=False) for row, score in models] + [
        RankedScore(_label(row), score, is_control=True)
        for row, score in known
        if not row.is_original and models and row.model == models[0][0].model
    ]


def _label(trial: Request | SummaryRow) -> str:
    return f"{trial.model} {_CONTROL_LABELS.get(trial.control, trial.control)}".strip()
