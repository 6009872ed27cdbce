"""Every contestant on every item under every control: resumed, and shared between processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from ..atomic_write import write_text
from ..engine.engine import StreamingEngine
from ..engine.memory import release_memory
from ..errors import BagError, EvaluationError, SourceError, WordsError
from ..file_hash import sha256_of
from ..recordings.annotation_files import read_utterances
from ..recordings.annotations import Utterance, utterances_of
from ..recordings.questions import read_questions
from ..recordings.recording import Recording, is_bag, open_recording
from ..types import NS_PER_S
from .candidate import Candidate
from .controls import CONTROLS
from .items import Item
from .naming import file_part
from .outcome import outcome
from .trial import run_trial

RESULTS = "results"


@dataclass(frozen=True)
class Trial:
    """One contestant, one item, one control: made in one go, and kept as one file."""

    item: Item
    candidate: Candidate
    control: str
    modes: tuple[str, ...]

    @property
    def file(self) -> str:
        """Name of its results."""
        control = self.control.replace(" ", "_")
        return f"{file_part(self.item.name)}--{self.candidate.slug}--{control}.json"

    def request(self) -> dict[str, Any]:
        """What the results depend on: others are not taken for these."""
        item = self.item
        return {
            "item": item.name,
            "recording": str(item.recording),
            "camera": item.camera,
            "reference": _digest(item.reference),
            "questions": _digest(item.questions),
            "model": self.candidate.label,
            "settings": self.candidate.settings.flat(),
            "control": self.control,
            "modes": list(self.modes),
        }


class Watcher(Protocol):
    """Is told how far an evaluation is."""

    def began(self, trial: Trial, length_s: float | None) -> None:
        """A trial of so many seconds, if that is known."""

    def advanced(self, watched_s: float) -> None:
        """So many of its seconds have been watched."""

    def ended(self, trial: Trial) -> None:
        """It is done, or skipped."""


class Evaluation:
    """Results in a folder: what is there already, of the same request, is not done again."""

    def __init__(self, folder: Path, trials: Sequence[Trial]) -> None:
        self._folder, self.trials = folder / RESULTS, trials

    def results(self) -> list[dict[str, Any]]:
        """What there is of this evaluation's trials, in their order; skipped ones say why."""
        return [result for trial in self.trials if (result := self._kept(trial))]

    def left(self, rank: int = 0, shards: int = 1) -> list[Trial]:
        """This process's share of the trials that are not done: one model after another."""
        return [trial for trial in self.trials[rank::shards] if not self._is_done(trial)]

    def run(self, trials: Sequence[Trial], watcher: Watcher, device: str = "auto") -> None:
        """Make the trials on a device. What can't be read is skipped with the reason."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for candidate, its in groupby(trials, key=lambda trial: trial.candidate):
            # Not a part of the request: the results are the same wherever they come from.
            settings = candidate.settings.updated({"device": device})
            engine = StreamingEngine.from_pretrained(candidate.checkpoint, settings)
            for trial in its:
                try:
                    result = _tried(trial, engine, watcher)
                except (BagError, EvaluationError, SourceError, WordsError) as error:
                    result = {"skipped": str(error)}
                self._keep(trial, result)
                watcher.ended(trial)
            del engine
            release_memory()

    def _keep(self, trial: Trial, result: dict[str, Any]) -> None:
        text = json.dumps({"request": trial.request(), **result}, indent=1)
        write_text(self._folder / trial.file, text)

    def _is_done(self, trial: Trial) -> bool:
        kept = self._kept(trial)
        return kept is not None and "skipped" not in kept

    def _kept(self, trial: Trial) -> dict[str, Any] | None:
        try:
            result = json.loads((self._folder / trial.file).read_text())
        except (OSError, ValueError, RecursionError):
            return None
        is_its = isinstance(result, dict) and result.get("request") == trial.request()
        return result if is_its else None


def _tried(trial: Trial, engine: StreamingEngine, watcher: Watcher) -> dict[str, Any]:
    item = trial.item
    questions = read_questions(item.questions) if item.questions else []
    frames = engine.settings.frames
    with open_recording(item.recording, item.camera) as recording:
        start_ns = recording.start_ns(frames)
        reference = _reference(item, recording, start_ns=start_ns)
        if not reference and not questions:
            raise EvaluationError(f"{item.name} has neither a reference nor questions")
        watcher.began(trial, recording.duration_s)
        observed = run_trial(
            engine,
            CONTROLS[trial.control](recording.chunks(frames)),
            start_ns,
            questions,
            trial.modes,
            lambda _, n: watcher.advanced((n.end_ns - start_ns) / NS_PER_S),
        )
        return {"losses": dict(recording.losses), **outcome(reference, observed)}


def _reference(item: Item, recording: Recording, *, start_ns: int) -> list[Utterance]:
    match item.reference:
        case None:
            return []
        case Path():
            return read_utterances(item.reference, start_ns if is_bag(item.recording) else None)
        case topic:
            return utterances_of(recording.narrations(topic), start_ns)


def _digest(source: Path | str | None) -> str | None:
    """A file by what is in it, so that a corrected one is not taken for the old."""
    if not isinstance(source, Path):
        return source
    return f"{source} {sha256_of([source])[:16]}"
