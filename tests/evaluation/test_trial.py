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
from streamingvlm_ros.evaluation.recording import recording
from streamingvlm_ros.evaluation.timed import TimedQuestion, Utterance
from streamingvlm_ros.evaluation.trial import Trial, run_trial
from streamingvlm_ros.types import Chunk

from .scene import WORLD, film

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
) -> Trial:
    with recording(bag, None, engine.settings.frames) as recorded:
        events = CONTROLS[control](recorded.events)
        return run_trial(
            engine, events, recorded.start_ns, asked or [], modes, lambda narration: None
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
        with recording(bag, None, engine.settings.frames) as recorded:
            return [c for c in CONTROLS[control](recorded.events) if isinstance(c, Chunk)]

    whole = chunks("seen")
    for control in ("no frames", "shuffled frames"):
        changed = chunks(control)
        for old, new in zip(whole, changed, strict=True):
            assert (new.start_ns, new.end_ns) == (old.start_ns, old.end_ns)
            assert [f.stamp_ns for f in new.frames] == [f.stamp_ns for f in old.frames]
    kept = {id(chunk.frames[0].image) for chunk in whole}
    assert kept.isdisjoint(id(c.frames[0].image) for c in chunks("no frames"))
    shuffled = chunks("shuffled frames")
    assert sorted(c.frames[0].image.tobytes() for c in shuffled) == sorted(
        c.frames[0].image.tobytes() for c in whole
    )


def test_before_anything_was_seen_nothing_is_answered(engine: StreamingEngine, bag: Path) -> None:
    early = [TimedQuestion(0.5, "What is on the table?", "Nothing.")]
    trial = tried(engine, bag, asked=early, modes=("stream", "recent", "history"))
    assert [a.answer for a in trial.answers] == ["", "", ""]
    assert all("seen" in a.error for a in trial.answers)


def test_options_are_asked_with_their_letters_and_scored_by_the_first_letter() -> None:
    asked = TimedQuestion(1.0, "Which?", "B", ("red", "blue"))
    assert asked.prompt == "Which?\nA. red\nB. blue\nAnswer with the letter."
    assert asked.is_answered_by("b) blue")
    assert not asked.is_answered_by("A")
    assert not asked.is_answered_by("")
