"""`streamingvlm evaluate` with the shipped model on bags of the synthetic world."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..evaluation.test_judge import fair, server
from ..recordings.scene import WORLD, film
from .test_narrate import run

SECONDS = 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two bags with what they show beside them, one of them with a question too."""
    tmp_path = tmp_path / "recordings"
    for name, begin in (("early", 0), ("late", 40)):
        film(tmp_path / name, range(begin, begin + SECONDS))
        lines = [
            {"start_s": n, "end_s": n + 1, "text": WORLD.caption(begin + n)} for n in range(SECONDS)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    asked = {"time_s": 12, "question": "How many things are on the table?"}
    asked["answer"] = ("None.", "One.", "Two.")[len(WORLD.second(11).things)]
    (tmp_path / "early.questions.jsonl").write_text(json.dumps(asked))
    return tmp_path


def evaluate(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run("evaluate", folder, "--output", folder.parent / "out", *arguments)


def summary(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder.parent / "out" / "summary.json").read_text())
    return rows


def results(folder: Path) -> dict[str, float]:
    """When each trial's results were written."""
    found = (folder.parent / "out" / "results").glob("*.json")
    return {path.name: path.stat().st_mtime_ns for path in found}


def test_models_and_settings_stand_side_by_side_and_the_better_one_first_in_its_scores(
    folder: Path,
) -> None:
    done = evaluate(folder, "--model", "demo", "--model", "demo fps=1", "--mode", "recent")
    assert done.returncode == 0, done.stderr
    good, poor = summary(folder)
    assert (good["model"], poor["model"]) == ("demo", "demo fps=1")
    assert good["items"] == poor["items"] == 2
    assert good["narration"]["exact"] > 0.8 > poor["narration"]["exact"]
    assert good["narration"]["rouge_l"] > poor["narration"]["rouge_l"]
    assert good["questions"]["recent"] == 1.0
    assert good["speed"]["round_p50_ms"] > 0
    assert good["speed"]["memory_mb"] > 50
    assert "demo fps=1" in " ".join(done.stdout.split())


def test_controls_are_far_worse(folder: Path) -> None:
    assert evaluate(folder, "--model", "demo", "--controls").returncode == 0
    seen, blank, shuffled = summary(folder)
    assert (blank["control"], shuffled["control"]) == ("no frames", "shuffled frames")
    assert seen["narration"]["exact"] > 0.8
    assert max(blank["narration"]["exact"], shuffled["narration"]["exact"]) < 0.4


def test_what_is_done_is_not_done_again_unless_what_it_rests_on_changed(folder: Path) -> None:
    evaluate(folder, "--model", "demo")
    before = results(folder)
    assert len(before) == 2
    evaluate(folder, "--model", "demo")
    assert results(folder) == before
    reference = folder / "late.jsonl"
    reference.write_text(reference.read_text() + "\n")
    evaluate(folder, "--model", "demo")
    again = results(folder)
    assert [name for name in before if again[name] != before[name]] == ["late--demo--seen.json"]


def test_processes_that_torchrun_starts_share_the_work(folder: Path) -> None:
    program = [sys.executable, "-m", "streamingvlm_ros.cli", "evaluate", str(folder)]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--no-python", *program, "--output", str(folder.parent / "out"), "--model", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert len(results(folder)) == 2
    (row,) = summary(folder)
    assert row["items"] == 2
    assert (folder.parent / "out" / "report.html").exists()


def test_what_cannot_be_read_is_skipped_with_a_reason_and_scored_by_nobody(folder: Path) -> None:
    (folder / "late" / "late_0.mcap").write_bytes(b"no bag")
    (folder / "gone.mp4").write_bytes(b"no video")
    done = evaluate(folder, "--model", "demo")
    assert done.returncode == 0
    (row,) = summary(folder)
    assert row["items"] == 1
    assert row["narration"]["exact"] > 0.8
    assert sorted(row["skipped"]) == ["gone", "late"]
    assert "skipped late: nothing of" in done.stderr


def test_a_recording_with_nothing_to_score_it_by_is_skipped(folder: Path) -> None:
    film(folder / "alone", range(3))
    assert evaluate(folder, "--model", "demo").returncode == 0
    (row,) = summary(folder)
    assert row["skipped"] == {"alone": "alone has neither a reference nor questions"}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--model", "demo fps"), "write NAME=VALUE"),
        (("--model", "demo speed=3"), "unknown setting: speed"),
        (("--model", "demo", "--reference", "a.jsonl"), "several recordings"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    folder: Path, arguments: tuple[str, ...], why: str
) -> None:
    done = evaluate(folder, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_judge_compares_every_model_with_the_first(folder: Path) -> None:
    with server(fair) as judge:
        models = ("--model", "demo fps=1", "--model", "demo")
        done = evaluate(folder, *models, "--judge", judge.url, "--judge-model", "any")
    assert done.returncode == 0, done.stderr
    first, second = summary(folder)
    assert "judged" not in first
    assert second["judged"]["against"] == "demo fps=1"
    assert (second["judged"]["wins"], second["judged"]["losses"]) == (2, 0)
    assert "The judge on demo against demo fps=1: 2 won" in done.stderr


def test_without_the_judges_answer_there_are_scores_and_a_report(folder: Path) -> None:
    models = ("--model", "demo fps=1", "--model", "demo")
    done = evaluate(folder, *models, "--judge", "http://127.0.0.1:9/v1")
    assert done.returncode == 1
    assert "error: the judge at http://127.0.0.1:9/v1 gave no answer" in done.stderr
    assert all("judged" not in row for row in summary(folder))
    assert (folder.parent / "out" / "report.html").exists()
