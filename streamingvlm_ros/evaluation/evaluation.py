"""Every candidate on every item under every control: resumable, shared between processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

from ..atomic_write import write_text
from ..engine.engine import StreamingEngine
from ..engine.memory import release_memory
from ..errors import EvaluationError, ModelError
from ..recordings.folder import unread_labels
from ..recordings.recording import open_recording
from ..recordings.skipping import skip_reason
from ..types import NS_PER_S
from .controls import CONTROLS
from .results import Result, SkippedTrial, TrialResult, read_result
from .scoring import score_trial
from .trial import Trial, run_trial

RESULTS = "results"
"""Folder of the results files."""


class TrialObserver(Protocol):
    """Follows the progress of an evaluation."""

    def on_start(self, trial: Trial, duration_s: float | None) -> None:
        """Called when a trial starts; `duration_s` is None if it isn't known."""

    def on_progress(self, elapsed_s: float) -> None:
        """Called after each round with the recording's time."""

    def on_end(self, trial: Trial) -> None:
        """Called when a trial is done or skipped."""


class Evaluation:
    """Trials and their results in a folder. Results of the same request are reused."""

    def __init__(self, folder: Path, trials: Sequence[Trial]) -> None:
        self._folder, self.trials = folder / RESULTS, trials

    def results(self) -> list[Result]:
        """Return the results so far, in the order of the trials."""
        return [result for trial in self.trials if (result := self._read(trial))]

    def remaining(self, rank: int = 0, world_size: int = 1) -> list[Trial]:
        """Return this process's share of the trials without results, model after model."""
        return [trial for trial in self.trials[rank::world_size] if not self._is_done(trial)]

    def run(self, trials: Sequence[Trial], observer: TrialObserver, *, device: str) -> None:
        """Run the trials on a device. A recording that fails is skipped, with the reason."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for candidate, group in groupby(trials, key=lambda trial: trial.candidate):
            # Not a part of the request: the results are the same on every device.
            settings = candidate.settings.updated({"device": device})
            engine = StreamingEngine.from_pretrained(candidate.checkpoint, settings)
            for trial in group:
                self._write(_run(trial, engine, observer=observer))
                observer.on_end(trial)
            del engine
            release_memory()

    def _write(self, result: Result) -> None:
        text = json.dumps(result.to_json(), indent=1)
        write_text(self._folder / result.request.file_name, text)

    def _is_done(self, trial: Trial) -> bool:
        return isinstance(self._read(trial), TrialResult)

    def _read(self, trial: Trial) -> Result | None:
        return read_result(self._folder / trial.request.file_name, trial.request)


def _run(trial: Trial, engine: StreamingEngine, *, observer: TrialObserver) -> Result:
    try:
        return _stream(trial, engine, observer=observer)
    except ModelError as error:  # loaded, but it computes no numbers for this recording
        return SkippedTrial(trial.request, str(error))
    except Exception as error:  # readers may raise anything
        return SkippedTrial(trial.request, skip_reason(error))


def _stream(trial: Trial, engine: StreamingEngine, *, observer: TrialObserver) -> TrialResult:
    item = trial.item
    frames = engine.settings.frames
    with open_recording(item.recording, item.camera) as recording:
        start_ns = recording.start_ns(frames)
        labels = item.labels.read(recording, start_ns=start_ns, chunk_s=frames.chunk_seconds)
        if not labels.reference and not labels.questions:
            reasons = (f"; {file}, {reason}" for file, reason in labels.losses.items())
            missing = f"{item.name} has neither a reference nor questions"
            raise EvaluationError("".join((missing, *reasons, unread_labels(item.recording))))
        observer.on_start(trial, recording.duration_s)
        record = run_trial(
            engine,
            CONTROLS[trial.control](recording.chunks(frames)),
            start_ns=start_ns,
            questions=labels.questions,
            modes=trial.modes,
            on_narration=lambda _, n: observer.on_progress((n.end_ns - start_ns) / NS_PER_S),
        )
        sources = (recording.notes, recording.losses, labels.losses)
        notices = [notice for source in sources for notice in source.items()]
    return score_trial(trial.request, record, reference=labels.reference, losses=_joined(notices))


def _joined(notices: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return what is to be known of each part of a recording: notes and damage in one text."""
    parts: dict[str, list[str]] = {}
    for part, text in notices:
        parts.setdefault(part, []).append(text)
    return {part: "; ".join(texts) for part, texts in parts.items()}
