"""A suite of another benchmark: one reader, with tasks, prompts and scorers of its own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from streamingvlm_ros.evaluation.items import Item, Labels, ScoredQuestion, SuiteArguments
from streamingvlm_ros.evaluation.suites import SUITES
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.recordings.questions import TimedQuestion

from ..support.cli import run
from ..support.world_bags import WORLD, film

SECONDS = 16


def score_count(question: TimedQuestion, answer: str) -> float:
    """1 for the right count as a digit or word anywhere in the answer; half for one off."""
    words = ["none", "one", "two"]
    numbers = [words.index(w) for w in re.findall(r"none|one|two", answer.lower())]
    distance = abs(numbers[0] - int(question.answer)) if numbers else len(words)
    return max(0.0, 1 - distance / 2)


def read_tiny_suite(arguments: SuiteArguments) -> Sequence[Item]:
    """Read `annotations.json` of a folder: entries with a bag, a task, a time and a truth."""
    [folder] = arguments.paths
    items = []
    for bag, entries in json.loads((folder / "annotations.json").read_text()).items():
        questions = tuple(map(read_entry, entries))
        reference = (Utterance(0.0, 1.0, WORLD.caption(0)),)
        items.append(Item(bag, folder / bag, Labels(reference, questions)))
    return items


def read_entry(entry: dict[str, str | float]) -> ScoredQuestion:
    time_s, task = float(entry["realtime"]), str(entry["task"])
    if task == "counting":
        text = "How many things are on the table?"
        return ScoredQuestion(
            TimedQuestion(time_s, "count", str(entry["truth"])), task, score_count, text
        )
    question = TimedQuestion(time_s, "Which is right?", str(entry["truth"]), ("a dog", "a cat"))
    return ScoredQuestion(question, task)


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """A benchmark of one bag with two tasks: multiple choice, and counting at two times."""
    folder = tmp_path / "benchmark"
    film(folder / "table", range(SECONDS))
    entries = [
        {"realtime": s, "task": "counting", "truth": str(len(WORLD.second(s - 1).things))}
        for s in (8, 12)
    ]
    entries.append({"realtime": 12, "task": "choice", "truth": "B"})
    (folder / "annotations.json").write_text(json.dumps({"table": entries}))
    return folder


def evaluate(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    out = folder.parent / "out"
    return run("evaluate", folder, "--output", out, "--model", "demo", *arguments)


def test_a_reader_of_a_benchmark_is_chosen_by_its_name(
    benchmark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SUITES, "tiny", read_tiny_suite)
    done = evaluate(benchmark, "--suite", "tiny")
    assert done.returncode == 0, done.stderr
    out = benchmark.parent / "out"

    [row] = json.loads((out / "summary.json").read_text())
    assert row["narration"]["exact"] is not None
    assert row["tasks"]["stream"]["counting"] == 1.0
    assert set(row["tasks"]["stream"]) == {"counting", "choice"}
    mean = (2 * row["tasks"]["stream"]["counting"] + row["tasks"]["stream"]["choice"]) / 3
    assert row["questions"]["stream"] == pytest.approx(mean)

    [file] = (out / "results").iterdir()
    result = json.loads(file.read_text())
    assert result["request"]["suite"] == "tiny"
    assert [a["task"] for a in result["answers"]] == ["counting", "counting", "choice"]
    assert result["answers"][0]["asked"]["question"] == "count", "only the model gets the prompt"
    assert "Tasks (stream), %" in (out / "report.html").read_text()

    before = file.stat().st_mtime_ns
    assert evaluate(benchmark, "--suite", "tiny").returncode == 0
    assert file.stat().st_mtime_ns == before, "the same request is not run again"


def test_an_unknown_suite_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    done = evaluate(tmp_path, "--suite", "ovo")
    assert done.returncode == 1
    assert "error: unknown suite 'ovo'; use own" in done.stderr


def test_labels_in_memory_have_fingerprints_of_their_content() -> None:
    question = ScoredQuestion(TimedQuestion(1.0, "Which?", "A", ("a", "b")), "choice")
    labels = Labels(questions=(question,))
    assert labels.fingerprints().reference is None
    assert labels.fingerprints() == Labels(questions=(question,)).fingerprints()
    for changed in (replace(question, task="other"), replace(question, exact_prompt="Say A.")):
        assert Labels(questions=(changed,)).fingerprints() != labels.fingerprints()
