"""The benchmark of training at full size, run with tiny shapes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ..support.cli import ROOT, environment


@pytest.mark.slow
@pytest.mark.parametrize("all_weights", [False, True])
def test_the_training_benchmark_runs_on_tiny_shapes(all_weights: bool) -> None:
    script = ROOT / "perf" / "train_size.py"
    options = [
        "--shape",
        "tiny",
        "--side",
        "56",
        "--steps",
        "2",
        *(["--whole"] if all_weights else []),
    ]
    done = subprocess.run(
        [sys.executable, str(script), *options],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["tokens_per_s"] > 0
    assert result["tflops"] > 0
    assert (result["learnt"] > 100_000) == all_weights
