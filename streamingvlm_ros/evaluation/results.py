"""Results of an evaluation in memory, and the JSON that holds them on disk.

The fields of the files are listed in docs/evaluation.md. `Any` appears only where JSON is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ..recordings.annotations import Utterance
from ..recordings.questions import TimedQuestion
from .trend import Bin, Trend

ORIGINAL = "seen"
"""The control that changes nothing: the recording as it is."""

OWN_SUITE = "own"
"""The default suite. Files don't name it: older ones know no suites."""

SettingValue: TypeAlias = str | int | float | bool
Json: TypeAlias = Mapping[str, Any]

_MAX_NAME_LENGTH = 60
"""Characters of a text in a file name; a whole name may have 255 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that a trial's results depend on. Results of another request are not reused."""

    item: str
    recording: str
    model: str
    settings: Mapping[str, SettingValue]
    camera: str | None = None
    reference: str | None = None
    """Fingerprint of the reference, None without one. `questions` likewise."""
    questions: str | None = None
    control: str = ORIGINAL
    modes: tuple[str, ...] = ("stream",)
    suite: str = OWN_SUITE

    @property
    def is_original(self) -> bool:
        """True if the frames were not changed by a control."""
        return self.control == ORIGINAL

    @property
    def file_name(self) -> str:
        """Name of the results file, unique for an item, a model and a control."""
        parts = file_part(self.item), file_part(self.model), self.control.replace(" ", "_")
        return f"{'--'.join(parts)}.json"

    def to_json(self) -> dict[str, Any]:
        """Return the request as its file has it."""
        return {
            "item": self.item,
            "recording": self.recording,
            "camera": self.camera,
            "reference": self.reference,
            "questions": self.questions,
            "model": self.model,
            "settings": dict(self.settings),
            "control": self.control,
            "modes": list(self.modes),
            **({} if self.suite == OWN_SUITE else {"suite": self.suite}),
        }


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """An answer to a question, and its score. Without an answer, `error` says why.

    `score` is 0 to 1; an unanswered question has 0. `first_token_s` is None if no token came.
    """

    question: TimedQuestion
    mode: str
    answer: str
    error: str
    first_token_s: float | None
    score: float
    task: str = ""

    @property
    def right(self) -> bool:
        """True if the answer has the full score."""
        return self.score >= 1

    def to_json(self) -> dict[str, Any]:
        """Return the record. `task` and `score` are written only if they add something."""
        record = {
            "asked": asdict(self.question),
            "mode": self.mode,
            "answer": self.answer,
            "error": self.error,
            "first_token_s": self.first_token_s,
            "right": self.right,
        }
        if self.task:
            record["task"] = self.task
        if self.score not in (0, 1):
            record["score"] = self.score
        return record

    @classmethod
    def from_json(cls, record: Json) -> AnswerRecord:
        """Read a record."""
        question = record["asked"]
        return cls(
            TimedQuestion(
                question["time_s"],
                question["question"],
                question["answer"],
                tuple(question["options"]),
            ),
            record["mode"],
            record["answer"],
            record["error"],
            record["first_token_s"],
            float(record.get("score", record["right"])),
            record.get("task", ""),
        )


@dataclass(frozen=True, slots=True)
class NarrationScores:
    """Scores of a narration, 0 to 1. None where the reference has nothing to compare with."""

    seconds: float
    """Duration of the reference, silent utterances included."""
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
    """Median distance in time of the events that were matched."""


@dataclass(frozen=True, slots=True)
class QuestionScores:
    """Scores of the answers in one mode. `right` is the mean score: a share where it is 0 or 1."""

    count: int
    right: float
    first_token_p50_ms: float | None
    over_time: Trend

    def to_json(self) -> dict[str, Any]:
        """Return the scores as their file has them."""
        return {
            "count": self.count,
            "right": self.right,
            "first_token_p50_ms": self.first_token_p50_ms,
            "over time": asdict(self.over_time),
        }

    @classmethod
    def from_json(cls, record: Json) -> QuestionScores:
        """Read the scores."""
        over_time = record["over time"]
        trend = Trend(
            tuple(Bin(**one) for one in over_time["bins"]),
            over_time["slope"],
            over_time["low"],
            over_time["high"],
        )
        return cls(record["count"], record["right"], record["first_token_p50_ms"], trend)


@dataclass(frozen=True, slots=True)
class Speed:
    """Wall time of the rounds, from their frames to their narration, and peak memory."""

    rounds: int
    round_p50_ms: float
    round_p95_ms: float
    times_real_time: float
    memory_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """Everything that is saved of a trial."""

    request: Request
    losses: Mapping[str, str]
    """What is to be known of parts of the recording: damage, and where a video's time begins."""
    reference: tuple[Utterance, ...]
    narrations: tuple[Utterance, ...]
    """The narration of every round, silent rounds included, by time."""
    answers: tuple[AnswerRecord, ...]
    narration_scores: NarrationScores | None
    """None without a reference."""
    question_scores: Mapping[str, QuestionScores]
    """By mode."""
    speed: Speed | None

    @property
    def spoken(self) -> list[Utterance]:
        """Narrations without the silent ones."""
        return [narration for narration in self.narrations if narration.text]

    def to_json(self) -> dict[str, Any]:
        """Return the result as its file has it."""
        return {
            "request": self.request.to_json(),
            "losses": dict(self.losses),
            "reference": [asdict(utterance) for utterance in self.reference],
            "said": [asdict(narration) for narration in self.narrations],
            "answers": [answer.to_json() for answer in self.answers],
            "narration": self.narration_scores and asdict(self.narration_scores),
            "questions": {mode: s.to_json() for mode, s in self.question_scores.items()},
            "speed": self.speed and asdict(self.speed),
        }


@dataclass(frozen=True, slots=True)
class SkippedTrial:
    """A trial that could not be run, and the reason. It affects no score."""

    request: Request
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the result as its file has it."""
        return {"request": self.request.to_json(), "skipped": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A judge's comparison of a model with another, `against`.

    `share` is the share of wins, ties counted as half; `low` and `high` are its 95 % interval.
    """

    against: str
    wins: int
    ties: int
    losses: int
    share: float
    low: float
    high: float


Result: TypeAlias = TrialResult | SkippedTrial


def completed(results: Sequence[Result]) -> list[TrialResult]:
    """Return the results without the skipped trials."""
    return [result for result in results if isinstance(result, TrialResult)]


def read_result(path: Path, request: Request) -> Result | None:
    """Read a results file. None if it is missing, damaged, or answers another request."""
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["request"] != request.to_json():
            return None
        if "skipped" in record:
            return SkippedTrial(request, record["skipped"])
        return _result(request, record)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _result(request: Request, record: Json) -> TrialResult:
    narration, speed = record["narration"], record["speed"]
    return TrialResult(
        request=request,
        losses=record["losses"],
        reference=tuple(Utterance(**utterance) for utterance in record["reference"]),
        narrations=tuple(Utterance(**narration) for narration in record["said"]),
        answers=tuple(map(AnswerRecord.from_json, record["answers"])),
        narration_scores=narration and NarrationScores(**narration),
        question_scores={
            mode: QuestionScores.from_json(scores) for mode, scores in record["questions"].items()
        },
        speed=speed and Speed(**speed),
    )


def file_part(text: str) -> str:
    """Return `text` as a part of file names: itself if it fits, else readable and with a hash."""
    readable = re.sub(r"[^\w.=-]+", "_", text, flags=re.ASCII).strip("_")[:_MAX_NAME_LENGTH]
    if readable == text:
        return text
    # A path may contain bytes that aren't valid text.
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{readable}-{digest[:8]}"
