"""Results of trials that never ran, and reports of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamingvlm_ros.config import Settings
from streamingvlm_ros.evaluation.report.report import write_report
from streamingvlm_ros.evaluation.results import (
    AnswerRecord,
    Request,
    Result,
    SkippedTrial,
    TrialResult,
)
from streamingvlm_ros.evaluation.scoring import score_trial
from streamingvlm_ros.evaluation.summary import summarize
from streamingvlm_ros.evaluation.trial import TrialRecord
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.recordings.questions import TimedQuestion

from ..support.world_bags import WORLD

SECONDS = 20
TRUTH = [WORLD.caption(n) for n in range(SECONDS)]
HOSTILE = '"\'><script>alert(1)</script><img src=x onerror=alert(2)>\u202e{{ 7 * 7 }}&amp;"'


def utterances(texts: Sequence[str], begin_s: float = 0.0) -> list[Utterance]:
    """One utterance a second."""
    return [Utterance(begin_s + n, begin_s + n + 1, text) for n, text in enumerate(texts)]


def request(
    item: str = "world",
    model: str = "demo",
    *,
    control: str = "seen",
    path: Path = Path("/missing/world"),
) -> Request:
    settings = {**Settings().flat(), "seed": len(model)}
    return Request(item=item, recording=str(path), model=model, settings=settings, control=control)


def result(
    narrations: Sequence[str],
    truth: Sequence[str] = TRUTH,
    *,
    answers: Sequence[AnswerRecord] = (),
    of: Request | None = None,
) -> TrialResult:
    """A trial whose model narrated these texts, one a second."""
    round_s = [0.02, 0.1] * (len(narrations) // 2)
    record = TrialRecord(utterances(narrations), list(answers), round_s, 500.0)
    return scored(record, utterances(truth), of=of)


def scored(
    record: TrialRecord, reference: Sequence[Utterance] = (), *, of: Request | None = None
) -> TrialResult:
    return score_trial(of or request(), record, reference=reference, losses={})


def skipped(item: str, reason: str, *, model: str = "demo") -> SkippedTrial:
    return SkippedTrial(request(item, model), reason)


def answer(
    text: str, time_s: float = 12.0, *, error: str = "", mode: str = "stream", task: str = ""
) -> AnswerRecord:
    """An answer to a question whose true answer is a red ball."""
    question = TimedQuestion(time_s, "What is on the table?", "A red ball.")
    score = float(question.is_answered_by(text))
    return AnswerRecord(question, mode, text, error, 0.01, score, task)


def three_trials(path: Path) -> list[TrialResult]:
    """A good model, its control, and a model that always says the same."""
    good = [*TRUTH[:5], f"{TRUTH[5] or 'something'} twice", *TRUTH[6:]]
    good_answers = [answer("A red ball."), answer("", 15.0, error="the question is too long")]
    poor_answers = [answer("A dog."), answer("A red ball.", 15.0)]
    blank, poor = ["blank"] * SECONDS, [TRUTH[0]] * SECONDS
    return [
        result(good, answers=good_answers, of=request(path=path)),
        result(blank, answers=poor_answers, of=request(control="no frames", path=path)),
        result(poor, answers=poor_answers, of=request(model="poor fps=1", path=path)),
    ]


def report_html(folder: Path, results: Sequence[Result]) -> str:
    """The report of these results, written into the folder."""
    return write_report(folder, results, rows=summarize(results)).read_text()
