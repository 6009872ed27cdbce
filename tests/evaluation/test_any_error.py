"""Whatever one recording's reader raises, the recording is skipped and the others are scored."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamingvlm_ros.config import DEMO_CHECKPOINT, Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.evaluation import evaluation
from streamingvlm_ros.evaluation.candidate import Candidate, parse_candidate
from streamingvlm_ros.evaluation.evaluation import Evaluation
from streamingvlm_ros.evaluation.items import Item, Labels
from streamingvlm_ros.evaluation.results import Result, SkippedTrial, TrialResult
from streamingvlm_ros.evaluation.summary import summarize
from streamingvlm_ros.evaluation.trial import Trial
from streamingvlm_ros.recordings.annotations import Utterance

from ..support.failing import POINTS, exceptions, opening_that_fails
from ..support.world_bags import film

LABELS = Labels((Utterance(0, 1, "The table is empty."),))


class Silent:
    """An observer that shows nothing."""

    def on_start(self, trial: Trial, duration_s: float | None) -> None: ...

    def on_progress(self, elapsed_s: float) -> None: ...

    def on_end(self, trial: Trial) -> None: ...


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags")
    return [film(folder / name, range(2)) for name in ("first", "second")]


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    return parse_candidate("demo max_new_tokens=1")


@pytest.fixture(scope="module")
def engine(candidate: Candidate) -> StreamingEngine:
    return StreamingEngine.from_pretrained(DEMO_CHECKPOINT, candidate.settings)


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch, engine: StreamingEngine) -> pytest.MonkeyPatch:
    """Every evaluation has the one loaded engine."""

    def loaded(checkpoint: Path | str, settings: Settings) -> StreamingEngine:
        return engine

    monkeypatch.setattr(evaluation.StreamingEngine, "from_pretrained", loaded)
    return monkeypatch


def evaluate(bags: Sequence[Path], candidate: Candidate, *, output: Path) -> list[Result]:
    trials = [Trial(Item(bag.name, bag, LABELS), candidate) for bag in bags]
    run = Evaluation(output, trials)
    run.run(trials, Silent(), device="cpu")
    return run.results()


@given(error=exceptions(), point=st.sampled_from(POINTS))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_error_of_a_reader_is_a_line_in_the_report_and_the_others_are_scored(
    patched: pytest.MonkeyPatch,
    bags: list[Path],
    candidate: Candidate,
    tmp_path: Path,
    error: Exception,
    point: str,
) -> None:
    failing = opening_that_fails("first", error, point=point)
    with patched.context() as patch:
        patch.setattr(evaluation, "open_recording", failing)
        first, second = evaluate(bags, candidate, output=tmp_path)
    assert isinstance(first, SkippedTrial)
    assert first.reason
    assert "\n" not in first.reason
    assert isinstance(second, TrialResult)
    assert len(second.narrations) == 2
    [row] = summarize([first, second])
    assert (row.items, row.skipped) == (1, {"first": first.reason})


def test_an_unexpected_error_is_named_with_its_place(
    patched: pytest.MonkeyPatch, bags: list[Path], candidate: Candidate, tmp_path: Path
) -> None:
    failing = opening_that_fails("first", KeyError("x"), point="second chunk")
    patched.setattr(evaluation, "open_recording", failing)
    first, _ = evaluate(bags, candidate, output=tmp_path)
    assert isinstance(first, SkippedTrial)
    assert first.reason.startswith("unexpected KeyError: 'x' (failing.py, line ")


@pytest.mark.parametrize(
    "error", [ConfigError("fps"), OSError(errno.ENOSPC, "No space left")], ids=["setting", "disk"]
)
def test_an_error_that_is_not_the_recordings_ends_the_evaluation(
    patched: pytest.MonkeyPatch,
    bags: list[Path],
    candidate: Candidate,
    tmp_path: Path,
    error: Exception,
) -> None:
    failing = opening_that_fails("first", error, point="first chunk")
    patched.setattr(evaluation, "open_recording", failing)
    with pytest.raises(type(error)):
        evaluate(bags, candidate, output=tmp_path)


class UnreadableLabels(Labels):
    """Labels of a format whose reader fails."""

    def read(self, *arguments: Any, **options: Any) -> Labels:
        return self.read(*arguments, **options)


def test_labels_nested_too_deeply_skip_their_recording(
    patched: pytest.MonkeyPatch, bags: list[Path], candidate: Candidate, tmp_path: Path
) -> None:
    labels = (UnreadableLabels(), LABELS)
    trials = [
        Trial(Item(bag.name, bag, label), candidate)
        for bag, label in zip(bags, labels, strict=True)
    ]
    run = Evaluation(tmp_path, trials)
    run.run(trials, Silent(), device="cpu")
    first, second = run.results()
    assert isinstance(first, SkippedTrial)
    assert "RecursionError" in first.reason
    assert isinstance(second, TrialResult)
