"""Items: recordings with the references and questions that a model is scored by.

Items are independent of file formats. Readers of formats and benchmarks are in `suites`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

from ..recordings.annotations import Utterance
from ..recordings.questions import TimedQuestion
from ..recordings.recording import Recording

Scorer: TypeAlias = Callable[[TimedQuestion, str], float]
"""The score of an answer to a question, 0 to 1."""


def score_match(question: TimedQuestion, answer: str) -> float:
    """Return 1 for the true answer or the letter or text of the right option, else 0."""
    return float(question.is_answered_by(answer))


@dataclass(frozen=True)
class ScoredQuestion:
    """A question, the task that its score counts for, and how its answers are scored.

    `exact_prompt` replaces the question's own prompt: benchmarks prescribe theirs.
    """

    question: TimedQuestion
    task: str = ""
    scorer: Scorer = score_match
    exact_prompt: str | None = None

    @property
    def prompt(self) -> str:
        """The text that the model is given."""
        return self.question.prompt if self.exact_prompt is None else self.exact_prompt


@dataclass(frozen=True)
class Fingerprints:
    """Short texts that change when a reference or questions change; None if there are none."""

    reference: str | None
    questions: str | None


class LabelSource(Protocol):
    """Labels that may depend on the camera's clock, such as those in a bag.

    `Labels` is one itself: a reader that has all labels in memory needs nothing else.
    """

    def fingerprints(self) -> Fingerprints:
        """Identify the labels without opening the recording."""

    def read(self, recording: Recording, *, start_ns: int, chunk_s: float) -> Labels:
        """Return the labels of an open recording.

        `start_ns` is the camera's time of second 0, `chunk_s` the length of a round.

        Raises:
            WordsError, BagError: The labels can't be read; the item is skipped.
        """


@dataclass(frozen=True)
class Labels:
    """The reference and the questions of a recording, both by time. Either may be empty.

    `losses` describes what was left out or changed on reading, by file.
    """

    reference: tuple[Utterance, ...] = ()
    questions: tuple[ScoredQuestion, ...] = ()
    losses: Mapping[str, str] = field(default_factory=dict)

    def fingerprints(self) -> Fingerprints:
        """Identify the labels by a hash of their content. Scorers are not part of it."""
        reference = [asdict(utterance) for utterance in self.reference]
        questions = [[asdict(q.question), q.task, q.prompt] for q in self.questions]
        return Fingerprints(
            _hash(reference) if reference else None, _hash(questions) if questions else None
        )

    def read(self, recording: Recording, *, start_ns: int, chunk_s: float) -> Labels:
        """Return these labels: they don't depend on the camera's clock."""
        return self


@dataclass(frozen=True)
class Item:
    """A recording and its labels. `camera` is the image topic, None if there is only one."""

    name: str
    recording: Path
    labels: LabelSource
    camera: str | None = None


@dataclass(frozen=True)
class SuiteArguments:
    """The user's arguments: recordings or a benchmark's folders, and overrides.

    `reference` is a file, or a narration topic with its leading slash. A suite raises an
    EvaluationError for an override that it can't use.
    """

    paths: tuple[Path, ...]
    camera: str | None = None
    reference: str | None = None
    questions: Path | None = None


Suite: TypeAlias = Callable[[SuiteArguments], Sequence[Item]]
"""A reader: returns items with distinct names, or raises an EvaluationError."""


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
