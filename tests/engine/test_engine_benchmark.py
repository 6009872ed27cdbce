"""The script that compares the engine with re-sending, on too few rounds to fill the windows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "perf" / "engine.py"
WAYS = {"one stream", "four alone", "four together", "re-sending"}


@pytest.mark.slow
def test_every_variant_is_measured_by_stage() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--first", "1", "--last", "3", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert {*result["cpu_ms"]} == WAYS
    for way, ms in result["cpu_ms"].items():
        evicts = way != "re-sending"
        assert all(ms[stage] > 0 for stage in ms if evicts or stage != "eviction")
    assert 0 < result["round_over_resending"] < 1
    assert result["together_over_alone"] > 0
