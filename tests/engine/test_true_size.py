"""The 7B shapes on a GPU that has the memory; the same script with tiny shapes everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parent.parent.parent / "perf" / "true_size.py"
NEEDED_BYTES = 60e9
PARTS = ["versions", "attention", "graph", "vision"]


def run(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def has_room() -> bool:
    return torch.cuda.is_available() and torch.cuda.mem_get_info()[1] > NEEDED_BYTES


@pytest.mark.gpu
@pytest.mark.skipif(not has_room(), reason="needs a CUDA device with 60 GB")
def test_7b_shapes_stream_300_rounds_past_full_windows() -> None:
    *parts, streams = run("--streams", "1", "--no-eager")
    assert [part["part"] for part in parts] == PARTS
    assert parts[2]["captured"] > 0
    assert streams["rounds_past_full_windows"] == 300
    assert streams["first_token_idle_p95_ms"] > 0


@pytest.mark.slow
def test_the_true_size_script_works_on_tiny_shapes() -> None:
    size = ("--height", "56", "--width", "84")
    short = ("--rounds", "20", "--questions", "5", "--streams", "1", "2")
    lines = run("--shape", "tiny", *short, *size)
    parts, streams = lines[:4], lines[4:]
    assert [part["part"] for part in parts] == PARTS
    assert parts[2]["equal"]
    modes = [(line["streams"], line["graph"]) for line in streams]
    assert modes == [(1, True), (1, False), (2, True), (2, False)]
    for line in streams:
        assert line["finite"]
        assert line["rounds_past_full_windows"] == 20
        assert 0 < line["first_token_idle_p50_ms"] <= line["first_token_idle_p95_ms"]
        assert line["first_token_narrating_p95_ms"] > 0


@pytest.mark.slow
def test_a_part_that_fails_is_reported_and_the_others_continue() -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            "--shape",
            "tiny",
            "--height",
            "0",
            "--only",
            "vision",
            "versions",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    failed, versions = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1
    assert failed["error"]
    assert versions["torch"] == torch.__version__
