"""The shipped model on bags of the synthetic world, asked while it watches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamingvlm_ros.config import DEMO_CHECKPOINT, settings_for
from streamingvlm_ros.demo.questions import NOW
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.evaluation.controls import CONTROLS
from streamingvlm_ros.evaluation.metrics import score_narration
from streamingvlm_ros.evaluation.outcome import outcome
from streamingvlm_ros.evaluation.trial import Answered, TrialRecord, run_trial
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.recordings.questions import LETTERS, TimedQuestion
from streamingvlm_ros.recordings.recording import open_recording
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Chunk, Frame

from ..recordings.scene import WORLD, film

SECONDS = 24
TRUTH = [Utterance(n, n + 1, WORLD.caption(n)) for n in range(SECONDS)]
ASKED_S = range(12, SECONDS, 2)


@pytest.fixture(scope="module")
def engine() -> StreamingEngine:
    return StreamingEngine.from_pretrained(DEMO_CHECKPOINT, settings_for(DEMO_CHECKPOINT))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("bags") / "world", range(SECONDS))


def questions(kind: str) -> list[TimedQuestion]:
    """Asked when a second is over, about that second."""
    random = np.random.default_rng(0)
    made = [(n, NOW[kind](WORLD.second(n - 1), random)) for n in ASKED_S]
    return [TimedQuestion(n, its.question, its.answer) for n, its in made]


def tried(
    engine: StreamingEngine,
    bag: Path,
    control: str = "seen",
    asked: list[TimedQuestion] | None = None,
    modes: tuple[str, ...] = ("stream",),
) -> TrialRecord:
    frames = engine.settings.frames
    with open_recording(bag) as recording:
        events, start_ns = CONTROLS[control](recording.chunks(frames)), recording.start_ns(frames)
        return run_trial(
            engine, events, start_ns, asked or [], modes, lambda chunk, narration: None
        )


def test_what_was_filmed_is_told_and_asked_at_its_time(engine: StreamingEngine, bag: Path) -> None:
    trial = tried(engine, bag, asked=questions("count"), modes=("stream", "recent"))
    assert [(u.start_s, u.end_s) for u in trial.said] == [(n, n + 1) for n in range(SECONDS)]
    assert score_narration(TRUTH, trial.said).exact >= 0.9
    assert len(trial.round_s) == SECONDS
    for mode in ("stream", "recent"):
        answers = [a for a in trial.answers if a.mode == mode]
        assert [a.asked.time_s for a in answers] == list(ASKED_S)
        assert np.mean([a.asked.is_answered_by(a.answer) for a in answers]) >= 0.9
    assert all(a.first_token_s and a.first_token_s > 0 for a in trial.answers)


def test_questions_leave_the_narration_as_it_is(engine: StreamingEngine, bag: Path) -> None:
    asked = tried(engine, bag, asked=questions("count"), modes=("stream", "recent", "history"))
    assert asked.said == tried(engine, bag).said
    assert {a.mode for a in asked.answers} == {"stream", "recent", "history"}
    assert not [a.error for a in asked.answers if a.error]


def test_of_what_left_long_ago_the_history_knows(engine: StreamingEngine, tmp_path: Path) -> None:
    # Green is the only star in the first half minute; in the other, 13 minutes later, is none.
    bag = film(tmp_path / "world", [*range(30), *range(780, 810)])
    asked = [TimedQuestion(810, "What colour was the star?", "Green.")]
    live, recalled = tried(engine, bag, asked=asked, modes=("stream", "history")).answers
    assert (live.right, recalled.right) == (False, True)


@pytest.mark.parametrize("control", ["no frames", "shuffled frames"])
def test_without_its_pictures_a_recording_is_neither_told_nor_answered(
    engine: StreamingEngine, bag: Path, control: str
) -> None:
    trial = tried(engine, bag, control, questions("what"))
    assert score_narration(TRUTH, trial.said).exact <= 0.4
    assert np.mean([a.asked.is_answered_by(a.answer) for a in trial.answers]) <= 0.5


def test_controls_keep_times_and_numbers_of_frames_and_exchange_all_pictures(
    engine: StreamingEngine, bag: Path
) -> None:
    def chunks(control: str) -> list[Chunk]:
        with open_recording(bag) as recording:
            events = CONTROLS[control](recording.chunks(engine.settings.frames))
            return [event for event in events if isinstance(event, Chunk)]

    whole = chunks("seen")
    for control in ("no frames", "shuffled frames"):
        changed = chunks(control)
        for old, new in zip(whole, changed, strict=True):
            assert (new.start_ns, new.end_ns) == (old.start_ns, old.end_ns)
            assert [f.stamp_ns for f in new.frames] == [f.stamp_ns for f in old.frames]
    kept = {id(chunk.frames[0].image) for chunk in whole}
    assert kept.isdisjoint(id(c.frames[0].image) for c in chunks("no frames"))
    shuffled = [chunk.frames[0].image.tobytes() for chunk in chunks("shuffled frames")]
    own = [chunk.frames[0].image.tobytes() for chunk in whole]
    assert sorted(shuffled) == sorted(own)


@pytest.mark.parametrize("count", [2, 60, 61, 120, 121])
def test_no_chunk_keeps_its_own_pictures_when_they_are_shuffled(count: int) -> None:
    pictures = [np.full((2, 2, 3), n, np.uint8) for n in range(count)]
    chunks = [Chunk((Frame(its, n * S),), n * S, (n + 1) * S) for n, its in enumerate(pictures)]
    for chunk, own in zip(CONTROLS["shuffled frames"](chunks), pictures, strict=True):
        assert isinstance(chunk, Chunk)
        assert chunk.frames[0].image is not own


def test_before_anything_was_seen_nothing_is_answered(engine: StreamingEngine, bag: Path) -> None:
    early = [TimedQuestion(0.5, "What is on the table?", "Nothing.")]
    trial = tried(engine, bag, asked=early, modes=("stream", "recent", "history"))
    assert [a.answer for a in trial.answers] == ["", "", ""]
    assert all("seen" in a.error for a in trial.answers)


def test_options_are_asked_with_their_letters_and_scored_by_the_one_that_is_named() -> None:
    asked = TimedQuestion(1.0, "Which?", "B", ("red", "blue"))
    assert asked.prompt == "Which?\nA. red\nB. blue\nAnswer with the letter."
    for right in ("b) blue", "(B)", "B", "Blue."):
        assert asked.is_answered_by(right)
    for wrong in ("Brown", "b dog", "I think A"):
        assert not asked.is_answered_by(wrong)
    assert not TimedQuestion(1.0, "Which?", "A", ("red", "blue")).is_answered_by("A dog.")
    assert not asked.is_answered_by("A")
    assert not asked.is_answered_by("")


@pytest.mark.parametrize("options", [2, 4])
def test_a_random_answerer_is_right_as_often_as_chance(options: int) -> None:
    random, asked = np.random.default_rng(0), 4000
    letters, texts = LETTERS[:options], tuple(f"thing {n}" for n in range(options))
    truth = random.integers(options, size=asked)
    answers = [
        Answered(TimedQuestion(1.0, "Which?", letters[true], texts), "stream", said, "", None)
        for true, said in zip(truth, random.choice([*letters], asked), strict=True)
    ]
    right = outcome([], TrialRecord(answers=answers))["questions"]["stream"]["right"]
    four_deviations = 4 * (1 / options * (1 - 1 / options) / asked) ** 0.5
    assert right == pytest.approx(1 / options, abs=four_deviations)
