"""Runs the command line as a person does: as a process."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY_CHECKPOINT = ROOT / "tests" / "data" / "parity" / "checkpoint"


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, from the source tree, plain output, hub out of reach."""
    plain = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    wide = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    return {**os.environ, **plain, **wide, **changes}


def command(*arguments: object) -> list[str]:
    """The command line of `streamingvlm` with `arguments`."""
    return [sys.executable, "-m", "streamingvlm_ros.cli", *map(str, arguments)]


def streamingvlm(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run to the end and return what was said."""
    return subprocess.run(
        command(*arguments),
        env=environment(**environ),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
