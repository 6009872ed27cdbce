"""Results in memory and in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamingvlm_ros.atomic_write import write_text
from streamingvlm_ros.evaluation.results import (
    AnswerRecord,
    Request,
    SkippedTrial,
    TrialResult,
    read_result,
)
from streamingvlm_ros.evaluation.scoring import score_trial
from streamingvlm_ros.evaluation.trial import TrialRecord
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.recordings.questions import TimedQuestion

OLD_FILE = Path(__file__).with_name("result_without_tasks.json")
"""Written before results had tasks and suites."""

REQUEST = Request(
    item="drive",
    recording="/data/drive",
    reference="/data/drive.jsonl 0123456789abcdef",
    questions="/data/drive.questions.jsonl fedcba9876543210",
    model="demo",
    settings={"fps": 2.0, "model": "demo", "backlog_chunks": 2},
    modes=("stream", "recent"),
)


def scored() -> TrialResult:
    """The trial that the old file holds."""
    question = TimedQuestion(1.5, "Which colour?", "A", ("red", "blue"))
    record = TrialRecord(
        [Utterance(0.0, 1.0, "A red ball."), Utterance(1.0, 2.0, "")],
        [
            AnswerRecord(question, "stream", "A", "", 0.125, 1.0),
            AnswerRecord(question, "recent", "", "too long", None, 0.0),
        ],
        [0.25, 0.5],
        512.0,
    )
    reference = [Utterance(0.0, 2.0, "A ball.")]
    return score_trial(REQUEST, record, reference=reference, losses={"drive_0.mcap": "cut off"})


def test_an_old_file_is_read() -> None:
    assert read_result(OLD_FILE, REQUEST) == scored()


def test_files_are_written_as_before() -> None:
    assert json.dumps(scored().to_json(), indent=1) == OLD_FILE.read_text().rstrip()


def test_tasks_and_partial_scores_are_read_as_written(tmp_path: Path) -> None:
    question = TimedQuestion(1.0, "How many?", "3")
    answers = [AnswerRecord(question, "stream", "2", "", 0.1, 0.5, task="counting")]
    request = Request(item="a", recording="a.mp4", model="demo", settings={}, suite="other")
    result = score_trial(request, TrialRecord(answers=answers), reference=[], losses={})
    file = tmp_path / request.file_name
    write_text(file, json.dumps(result.to_json()))
    assert read_result(file, request) == result
    assert not result.answers[0].right
    assert result.question_scores["stream"].right == 0.5


def test_a_skipped_trial_is_read_as_written(tmp_path: Path) -> None:
    result = SkippedTrial(REQUEST, "no bag")
    write_text(tmp_path / "a.json", json.dumps(result.to_json()))
    assert read_result(tmp_path / "a.json", REQUEST) == result


def test_results_of_another_request_are_not_read() -> None:
    other = Request(item="drive", recording="/data/drive", model="demo", settings={})
    assert read_result(OLD_FILE, other) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"request": 1}'])
def test_a_damaged_file_is_not_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    assert read_result(file, REQUEST) is None
    assert read_result(tmp_path / "missing.json", REQUEST) is None


@pytest.mark.parametrize("field", ["said", "answers", "questions", "speed", "losses"])
def test_a_file_that_lacks_a_field_is_not_read(tmp_path: Path, field: str) -> None:
    record = json.loads(OLD_FILE.read_text())
    del record[field]
    file = tmp_path / "a.json"
    file.write_text(json.dumps(record))
    assert read_result(file, REQUEST) is None


def request(item: str = "world", model: str = "demo", *, control: str = "seen") -> Request:
    return Request(item=item, recording="r", model=model, settings={}, control=control)


def test_no_two_models_share_a_file_name() -> None:
    labels = ["demo", "demo seed=1", "demo  seed=1", f"demo instruction={300 * 'a'}"]
    labels += [f"demo instruction={300 * 'a'}b", f"demo instruction={80 * '犬'}"]
    names = [request(model=label).file_name for label in labels]
    assert names[0] == "world--demo--seen.json"
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) < 100 and not set("/ ") & set(name) for name in names)


def test_the_longest_names_make_usable_file_names(tmp_path: Path) -> None:
    names = [request(f"{240 * 'a'}{n}", control="shuffled frames").file_name for n in range(2)]
    assert len(set(names)) == 2
    for name in names:
        write_text(tmp_path / name, "results")
