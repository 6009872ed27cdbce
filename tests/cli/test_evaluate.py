"""`streamingvlm evaluate` with the shipped model on bags of the synthetic world."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from streamingvlm_ros.config import DEMO_CHECKPOINT

from ..support.cli import run
from ..support.judge import fair_judge, judge_server
from ..support.world_bags import WORLD, film

SECONDS = 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two bags with reference narration, one of them with a question too."""
    tmp_path = tmp_path / "recordings"
    for name, start in (("early", 0), ("late", 40)):
        film(tmp_path / name, range(start, start + SECONDS))
        lines = [
            {"start_s": n, "end_s": n + 1, "text": WORLD.caption(start + n)} for n in range(SECONDS)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    question = {"time_s": 12, "question": "How many things are on the table?"}
    question["answer"] = ("None.", "One.", "Two.")[len(WORLD.second(11).things)]
    (tmp_path / "early.questions.jsonl").write_text(json.dumps(question))
    return tmp_path


def evaluate(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run("evaluate", folder, "--output", folder.parent / "out", *arguments)


def summary(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder.parent / "out" / "summary.json").read_text())
    return rows


def results(folder: Path) -> dict[str, float]:
    """Modification time of each trial's results."""
    files = (folder.parent / "out" / "results").glob("*.json")
    return {path.name: path.stat().st_mtime_ns for path in files}


def test_models_and_settings_are_compared_and_the_better_one_scores_higher(
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


def test_controls_score_far_worse(folder: Path) -> None:
    assert evaluate(folder, "--model", "demo", "--controls").returncode == 0
    original, blank, shuffled = summary(folder)
    assert (blank["control"], shuffled["control"]) == ("no frames", "shuffled frames")
    assert original["narration"]["exact"] > 0.8
    assert max(blank["narration"]["exact"], shuffled["narration"]["exact"]) < 0.4


def test_results_are_reused_unless_their_inputs_changed(folder: Path) -> None:
    evaluate(folder, "--model", "demo")
    first = results(folder)
    assert len(first) == 2
    evaluate(folder, "--model", "demo")
    assert results(folder) == first
    reference = folder / "late.jsonl"
    reference.write_text(reference.read_text() + "\n")
    evaluate(folder, "--model", "demo")
    again = results(folder)
    assert [name for name in first if again[name] != first[name]] == ["late--demo--seen.json"]


def test_processes_started_by_torchrun_share_the_work(folder: Path) -> None:
    program = [sys.executable, "-m", "streamingvlm_ros.cli", "evaluate", str(folder)]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--no-python", *program, "--output", str(folder.parent / "out"), "--model", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert len(results(folder)) == 2
    (row,) = summary(folder)
    assert row["items"] == 2
    assert (folder.parent / "out" / "report.html").exists()


def test_unreadable_recordings_are_skipped_with_a_reason_and_not_scored(folder: Path) -> None:
    (folder / "late" / "late_0.mcap").write_bytes(b"no bag")
    (folder / "gone.mp4").write_bytes(b"no video")
    done = evaluate(folder, "--model", "demo")
    assert done.returncode == 0
    (row,) = summary(folder)
    assert row["items"] == 1
    assert row["narration"]["exact"] > 0.8
    assert sorted(row["skipped"]) == ["gone", "late"]
    assert "skipped late: nothing of" in done.stderr


TTML = '<tt xmlns="http://www.w3.org/ns/ttml"><body/></tt>'
DEEP = '{"text": ' + "[" * 100_000
CUE = "00:00:01,000 --> 00:00:02,000\n"


def test_label_files_that_cannot_be_read_skip_their_recordings_only(tmp_path: Path) -> None:
    labels = {
        "good.srt": f"1\n{CUE}1 <STOP> {{EXIT}}\n\n2\n00:00:02,000 --> 00:00:02,000\nlast\n",
        "capitals.SRT": f"1\n{CUE}a box\n",
        "ttml.vtt": TTML,
        "deep.jsonl": DEEP,
        "latin.srt": f"1\n{CUE}caf\udce9\n",
        "swapped.srt": f"WEBVTT\n\n{CUE.replace(',', '.')}a box\n",
        "other.ass": "[Script Info]\n",
        "language.en.vtt": "WEBVTT\n",
    }
    folder = tmp_path / "recordings"
    folder.mkdir()
    film(folder / "good", range(4))
    for name, text in labels.items():
        (folder / name).write_text(text, errors="surrogateescape")
        if not (bag := folder / name.partition(".")[0]).exists():
            shutil.copytree(folder / "good", bag)
    done = evaluate(folder, "--model", "demo")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (row,) = summary(folder)
    assert row["items"] == 2
    reasons = {
        "ttml": f"{folder}/ttml.vtt, line 1: a .vtt file must begin with WEBVTT, not",
        "deep": f"{folder}/deep.jsonl, line 1: maximum recursion depth exceeded",
        "latin": f"{folder}/latin.srt, line 3: byte 0xe9 is not UTF-8; save the file as UTF-8",
        "swapped": f"{folder}/swapped.srt, line 1: it begins with WEBVTT: give it a name",
        "other": "other has neither a reference nor questions; other.ass is not read: convert",
        "language": "language.en.vtt is not read: rename it to language.vtt",
    }
    assert sorted(row["skipped"]) == sorted(reasons)
    for name, reason in reasons.items():
        assert reason in row["skipped"][name]
    held = "line 5: 1 cue without length, shown until the next cue or for 1 s"
    assert f"good, {folder}/good.srt: {held}" in " ".join(done.stderr.split())
    result = json.loads((folder.parent / "out/results/good--demo--seen.json").read_text())
    assert [(u["start_s"], u["end_s"], u["text"]) for u in result["reference"]] == [
        (1, 2, "1 <STOP> {EXIT}"),
        (2, 3, "last"),
    ]


def test_a_recording_without_reference_and_questions_is_skipped(folder: Path) -> None:
    film(folder / "alone", range(3))
    assert evaluate(folder, "--model", "demo").returncode == 0
    (row,) = summary(folder)
    assert row["skipped"] == {"alone": "alone has neither a reference nor questions"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--model", "demo fps"), "write NAME=VALUE"),
        (("--model", "demo speed=3"), "unknown setting 'speed'"),
        (("--model", "demo", "--reference", "a.jsonl"), "there is no such file"),
    ],
)
def test_invalid_models_and_references_are_reported_in_one_line(
    folder: Path, arguments: tuple[str, ...], reason: str
) -> None:
    done = evaluate(folder, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--questions", "."),
        ("--judge", "http://127.0.0.1:9/v1"),
        ("--model", "demo instruction=\udcff"),
    ],
)
def test_impossible_options_are_usage_errors(folder: Path, arguments: tuple[str, ...]) -> None:
    done = evaluate(folder, *arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
    assert not (folder.parent / "out").exists()


@pytest.mark.parametrize(
    ("rank", "size"), [("x", "2"), ("", "2"), ("0", "two"), ("2", "2"), ("-1", "2"), ("0", "0")]
)
def test_invalid_rank_and_world_size_are_reported_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rank: str, size: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    assert_one_line(evaluate(folder), "RANK" if (rank, size) != ("0", "two") else "WORLD_SIZE")


def test_an_output_folder_that_cannot_be_created_is_reported_in_one_line(folder: Path) -> None:
    out = folder.parent / "out"
    out.mkdir()
    (out / "results").write_text("a file")
    assert_one_line(evaluate(folder), f"{out / 'results'}: File exists")
    done = run("evaluate", folder, "--output", "/proc/x", "--model", "demo")
    assert_one_line(done, "/proc/x: No such file or directory")


def test_a_result_that_cannot_be_written_is_reported_in_one_line(folder: Path) -> None:
    blocker = folder.parent / "out" / "results" / "early--demo--seen.json"
    blocker.mkdir(parents=True)
    assert_one_line(evaluate(folder, "--model", "demo"), f"{blocker}: Is a directory")


def assert_one_line(done: subprocess.CompletedProcess[str], reason: str) -> None:
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert reason in lines[0]
    assert "Traceback" not in done.stderr


def test_damaged_results_are_recomputed(folder: Path) -> None:
    results = folder.parent / "out" / "results"
    results.mkdir(parents=True)
    for name in ("early", "late"):
        (results / f"{name}--demo--seen.json").write_text("[]")
    assert evaluate(folder, "--model", "demo").returncode == 0
    assert summary(folder)[0]["items"] == 2


def test_the_command_fails_if_everything_was_skipped(folder: Path) -> None:
    (folder / "early.questions.jsonl").unlink()
    for name in ("early", "late"):
        (folder / f"{name}.jsonl").write_text('{"start_s": 0, "end_s": 1, "text": null}')
    done = evaluate(folder, "--model", "demo")
    assert_one_line(done, "error: nothing was evaluated")
    assert "skipped late: " in done.stderr
    assert "late.jsonl, line 1: `text` must be text, not null" in done.stderr
    assert (folder.parent / "out" / "report.html").exists()


def test_losses_of_a_recording_are_reported_once(folder: Path) -> None:
    file = folder / "late" / "late_0.mcap"
    file.write_bytes(file.read_bytes()[:-200])
    done = evaluate(folder, "--model", "demo", "--controls")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("late, late_0.mcap: ") == 1


def test_an_interrupt_during_judging_leaves_scores_and_a_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(judge: object, results: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("streamingvlm_ros.evaluation.judge.judge_all", stopped)
    models = ("--model", "demo fps=1", "--model", "demo")
    done = evaluate(folder, *models, "--judge", "http://127.0.0.1:9/v1")
    assert done.returncode == 130
    assert "Stopped. Run the same command again to resume." in done.stderr
    assert len(summary(folder)) == 2
    assert (folder.parent / "out" / "report.html").exists()


def test_a_judge_compares_every_model_with_the_first(folder: Path) -> None:
    with judge_server(fair_judge) as judge:
        models = ("--model", "demo fps=1", "--model", "demo")
        done = evaluate(folder, *models, "--judge", judge.url, "--judge-model", "any")
    assert done.returncode == 0, done.stderr
    first, second = summary(folder)
    assert "judged" not in first
    assert second["judged"]["against"] == "demo fps=1"
    assert (second["judged"]["wins"], second["judged"]["losses"]) == (2, 0)
    assert "Judge: demo against demo fps=1: 2 won" in done.stderr


def test_an_unreachable_judge_leaves_scores_and_a_report(folder: Path) -> None:
    models = ("--model", "demo fps=1", "--model", "demo")
    done = evaluate(folder, *models, "--judge", "http://127.0.0.1:9/v1")
    assert done.returncode == 1
    assert "error: the judge at http://127.0.0.1:9/v1 gave no answer" in done.stderr
    assert all("judged" not in row for row in summary(folder))
    assert (folder.parent / "out" / "report.html").exists()


def test_recordings_of_a_model_without_numbers_are_skipped_and_the_others_go_on(
    folder: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(DEMO_CHECKPOINT, damaged)
    weights = load_file(damaged / "model.safetensors")
    name = next(name for name in weights if "layers.0.mlp.up_proj" in name)
    weights[name].fill_(float("nan"))
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    done = evaluate(folder, "--model", damaged, "--model", "demo")
    assert done.returncode == 0, done.stderr
    broken, sound = summary(folder)
    assert broken["items"] == 0
    assert list(broken["skipped"]) == ["early", "late"]
    assert all("no numbers" in reason for reason in broken["skipped"].values())
    assert sound["items"] == 2
    assert not sound["skipped"]
