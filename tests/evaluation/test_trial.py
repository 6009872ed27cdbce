"""Trials of the small model on bags of the synthetic world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from streamingvlm_ros.config import DEMO_CHECKPOINT, settings_for
from streamingvlm_ros.demo.questions import NOW
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.evaluation import trial
from streamingvlm_ros.evaluation.controls import CONTROLS
from streamingvlm_ros.evaluation.items import ScoredQuestion
from streamingvlm_ros.evaluation.metrics import score_narration
from streamingvlm_ros.evaluation.results import AnswerRecord, Request
from streamingvlm_ros.evaluation.scoring import score_trial
from streamingvlm_ros.evaluation.trial import TrialRecord, run_trial
from streamingvlm_ros.history.store import History
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.recordings.questions import LETTERS, TimedQuestion
from streamingvlm_ros.recordings.recording import open_recording
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Chunk, Frame

from ..support.world_bags import WORLD, film

SECONDS = 24
TRUTH = [Utterance(n, n + 1, WORLD.caption(n)) for n in range(SECONDS)]
QUESTIONS_S = range(12, SECONDS, 2)
ALL_MODES = ("stream", "recent", "history")


@pytest.fixture(scope="module")
def engine() -> StreamingEngine:
    return StreamingEngine.from_pretrained(DEMO_CHECKPOINT, settings_for(DEMO_CHECKPOINT))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("bags") / "world", range(SECONDS))


@pytest.fixture(scope="module")
def short_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("bags") / "short", range(2))


@pytest.fixture(scope="module")
def questioned(engine: StreamingEngine, bag: Path) -> TrialRecord:
    """A trial with questions in all modes."""
    return stream(engine, bag, questions=questions("count"), modes=ALL_MODES)


def questions(kind: str) -> list[TimedQuestion]:
    """Asked at the end of a second, about that second."""
    random = np.random.default_rng(0)
    asked = [(n, NOW[kind](WORLD.second(n - 1), random)) for n in QUESTIONS_S]
    return [TimedQuestion(n, one.question, one.answer) for n, one in asked]


def stream(
    engine: StreamingEngine,
    bag: Path,
    *,
    control: str = "seen",
    questions: Sequence[TimedQuestion] = (),
    modes: tuple[str, ...] = ("stream",),
) -> TrialRecord:
    frames = engine.settings.frames
    with open_recording(bag) as recording:
        return run_trial(
            engine,
            CONTROLS[control](recording.chunks(frames)),
            start_ns=recording.start_ns(frames),
            questions=[ScoredQuestion(question) for question in questions],
            modes=modes,
            on_narration=lambda chunk, narration: None,
        )


def test_every_second_is_narrated_and_questions_are_answered_at_their_time(
    questioned: TrialRecord,
) -> None:
    narrations = questioned.narrations
    assert [(u.start_s, u.end_s) for u in narrations] == [(n, n + 1) for n in range(SECONDS)]
    assert score_narration(TRUTH, narrations).exact >= 0.9
    assert len(questioned.round_s) == SECONDS
    for mode in ("stream", "recent"):
        answers = [a for a in questioned.answers if a.mode == mode]
        assert [a.question.time_s for a in answers] == list(QUESTIONS_S)
        assert np.mean([a.question.is_answered_by(a.answer) for a in answers]) >= 0.9
    assert all(a.first_token_s and a.first_token_s > 0 for a in questioned.answers)


def test_questions_do_not_change_the_narration(
    engine: StreamingEngine, bag: Path, questioned: TrialRecord
) -> None:
    assert questioned.narrations == stream(engine, bag).narrations
    assert {a.mode for a in questioned.answers} == set(ALL_MODES)
    assert not [a.error for a in questioned.answers if a.error]


def test_history_answers_what_has_left_the_window(engine: StreamingEngine, tmp_path: Path) -> None:
    # Green is the only star in the first half minute; there is none in the other, 13 minutes later.
    bag = film(tmp_path / "world", [*range(30), *range(780, 810)])
    question = TimedQuestion(810, "What colour was the star?", "Green.")
    record = stream(engine, bag, questions=[question], modes=("stream", "history"))
    live, recalled = record.answers
    assert (live.right, recalled.right) == (False, True)


@dataclass
class HistoryCount:
    """Counts the histories that were opened and closed."""

    opened: list[Path] = field(default_factory=list)
    closed: int = 0


@pytest.fixture
def histories(monkeypatch: pytest.MonkeyPatch) -> HistoryCount:
    count = HistoryCount()

    class CountedHistory(History):
        def __init__(self, folder: Path, *arguments: object) -> None:
            count.opened.append(folder)
            super().__init__(folder, *arguments)

        def close(self) -> None:
            count.closed += 1
            super().close()

    monkeypatch.setattr(trial, "History", CountedHistory)
    return count


@pytest.mark.parametrize(
    ("asked", "modes", "expected"),
    [(False, ALL_MODES, 0), (True, ("stream", "recent"), 0), (True, ("stream", "history"), 1)],
)
def test_a_history_is_opened_only_for_questions_in_its_mode(
    engine: StreamingEngine,
    short_bag: Path,
    histories: HistoryCount,
    asked: bool,
    modes: tuple[str, ...],
    expected: int,
) -> None:
    questions = [TimedQuestion(2.0, "What is on the table?", "Nothing.")] if asked else []
    record = stream(engine, short_bag, questions=questions, modes=modes)
    assert len(record.answers) == len(questions) * len(modes)
    assert (len(histories.opened), histories.closed) == (expected, expected)
    assert not any(folder.exists() for folder in histories.opened)


@pytest.mark.parametrize("control", ["no frames", "shuffled frames"])
def test_controls_make_narrations_and_answers_wrong(
    engine: StreamingEngine, bag: Path, control: str
) -> None:
    record = stream(engine, bag, control=control, questions=questions("what"))
    assert score_narration(TRUTH, record.narrations).exact <= 0.4
    assert np.mean([a.question.is_answered_by(a.answer) for a in record.answers]) <= 0.5


def test_controls_change_all_images_but_no_stamps_and_no_frame_counts(
    engine: StreamingEngine, bag: Path
) -> None:
    def chunks(control: str) -> list[Chunk]:
        with open_recording(bag) as recording:
            events = CONTROLS[control](recording.chunks(engine.settings.frames))
            return [event for event in events if isinstance(event, Chunk)]

    original = chunks("seen")
    for control in ("no frames", "shuffled frames"):
        changed = chunks(control)
        for old, new in zip(original, changed, strict=True):
            assert (new.start_ns, new.end_ns) == (old.start_ns, old.end_ns)
            assert [f.stamp_ns for f in new.frames] == [f.stamp_ns for f in old.frames]
    images = {id(chunk.frames[0].image) for chunk in original}
    assert images.isdisjoint(id(c.frames[0].image) for c in chunks("no frames"))
    shuffled = [chunk.frames[0].image.tobytes() for chunk in chunks("shuffled frames")]
    own = [chunk.frames[0].image.tobytes() for chunk in original]
    assert sorted(shuffled) == sorted(own)


@pytest.mark.parametrize("count", [2, 60, 61, 120, 121])
def test_shuffling_leaves_no_chunk_its_own_images(count: int) -> None:
    images = [np.full((2, 2, 3), n, np.uint8) for n in range(count)]
    chunks = [Chunk((Frame(image, n * S),), n * S, (n + 1) * S) for n, image in enumerate(images)]
    for chunk, own in zip(CONTROLS["shuffled frames"](chunks), images, strict=True):
        assert isinstance(chunk, Chunk)
        assert chunk.frames[0].image is not own


def test_a_question_before_the_first_frame_has_no_answer(
    engine: StreamingEngine, short_bag: Path
) -> None:
    early = [TimedQuestion(0.5, "What is on the table?", "Nothing.")]
    record = stream(engine, short_bag, questions=early, modes=ALL_MODES)
    assert [a.answer for a in record.answers] == ["", "", ""]
    assert all("seen" in a.error for a in record.answers)


def test_questions_about_the_newest_frames_are_answered_when_their_size_changes(
    engine: StreamingEngine, short_bag: Path
) -> None:
    frames = engine.settings.frames
    with open_recording(short_bag) as recording:
        first, second = (e for e in recording.chunks(frames) if isinstance(e, Chunk))
        start_ns = recording.start_ns(frames)
    cropped = [replace(frame, image=frame.image[:56]) for frame in second.frames]
    asked = TimedQuestion(2.0, "How many things are on the table?", "None.")
    record = run_trial(
        engine,
        [first, replace(second, frames=tuple(cropped))],
        start_ns=start_ns,
        questions=[ScoredQuestion(asked)],
        modes=["recent", "stream"],
        on_narration=lambda chunk, narration: None,
    )
    assert [answer.error for answer in record.answers] == ["", ""]
    assert len(record.narrations) == 2


def test_an_option_is_chosen_by_its_letter_or_its_text() -> None:
    question = TimedQuestion(1.0, "Which?", "B", ("red", "blue"))
    assert question.prompt == "Which?\nA. red\nB. blue\nAnswer with the letter."
    for right in ("b) blue", "(B)", "B", "Blue."):
        assert question.is_answered_by(right)
    for wrong in ("Brown", "b dog", "I think A"):
        assert not question.is_answered_by(wrong)
    assert not TimedQuestion(1.0, "Which?", "A", ("red", "blue")).is_answered_by("A dog.")
    assert not question.is_answered_by("A")
    assert not question.is_answered_by("")


@pytest.mark.parametrize("options", [2, 4])
def test_random_answers_are_right_as_often_as_chance(options: int) -> None:
    random, count = np.random.default_rng(0), 4000
    letters, texts = LETTERS[:options], tuple(f"thing {n}" for n in range(options))
    truth = random.integers(options, size=count)
    answers = []
    for right, text in zip(truth, random.choice([*letters], count), strict=True):
        scored = ScoredQuestion(TimedQuestion(1.0, "Which?", letters[right], texts))
        score = scored.scorer(scored.question, text)
        answers.append(AnswerRecord(scored.question, "stream", text, "", None, score))
    request = Request(item="a", recording="a", model="random", settings={})
    result = score_trial(request, TrialRecord(answers=answers), reference=[], losses={})
    four_deviations = 4 * (1 / options * (1 - 1 / options) / count) ** 0.5
    share = result.question_scores["stream"].right
    assert share == pytest.approx(1 / options, abs=four_deviations)
