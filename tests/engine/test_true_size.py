"""The 7B shapes on a GPU that has the memory; the same script with tiny shapes everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "true_size.py"
NEEDED_BYTES = 24e9


def run(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def has_room() -> bool:
    return torch.cuda.is_available() and torch.cuda.mem_get_info()[1] > NEEDED_BYTES


@pytest.mark.gpu
@pytest.mark.skipif(not has_room(), reason="needs a CUDA device with 24 GB")
def test_7b_shapes_stream_300_rounds_past_full_windows() -> None:
    result = run()
    assert result["finite"]
    assert result["first_token_idle_p95_ms"] > 0


@pytest.mark.slow
def test_the_true_size_script_works_on_tiny_shapes() -> None:
    size = ("--height", "56", "--width", "84")
    result = run("--shape", "tiny", "--rounds", "20", "--questions", "5", *size)
    assert result["finite"]
    assert result["rounds_past_full_windows"] == 20
    assert 0 < result["first_token_idle_p50_ms"] <= result["first_token_idle_p95_ms"]
    assert result["first_token_narrating_p95_ms"] > 0
