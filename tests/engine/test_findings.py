"""The script of the findings, on a stream that is too short for real findings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAYS = ("positions grow", "vision window 0 s", "sliding, recomputed")


def findings(run: Path) -> subprocess.CompletedProcess[str]:
    short = ["--worlds", "1", "--rounds", "100"]
    only = [word for way in WAYS for word in ("--only", way)]
    return subprocess.run(
        [sys.executable, "perf/findings.py", str(run), *short, *only],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.slow
def test_every_variant_has_a_row_and_a_world_is_watched_once(tmp_path: Path) -> None:
    first, again = findings(tmp_path), findings(tmp_path)
    assert again.stdout == first.stdout
    assert "rounds" in first.stderr
    assert "rounds" not in again.stderr
    rows = [line.split("|")[1:-1] for line in first.stdout.splitlines()[2:]]
    named = {row[0].strip(): row for row in rows}
    assert {*named} == {"as it is: rolling, contiguous", *WAYS}
    right = {name: float(row[1].strip().rstrip("%")) for name, row in named.items()}
    assert right.pop("vision window 0 s") < 50
    assert min(right.values()) > 90
    assert re.fullmatch(r" -\d+\.\d \(-\d+\.\d to -\d+\.\d\) ", named["vision window 0 s"][2])
