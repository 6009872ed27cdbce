"""Unreadable arguments and unwritable output are reported in one line by every command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ..support.cli import assert_one_error_line, command, environment, run, streamingvlm
from ..support.world_bags import film


def test_a_full_disk_is_reported_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        child = subprocess.run(
            command("--help"), env=environment(), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert_one_error_line(child, "No space left on device")


def test_a_closed_output_is_reported_in_one_line() -> None:
    child = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command("--help")],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert_one_error_line(child, "the standard output is closed")


@pytest.mark.parametrize(
    "arguments",
    [("ask", "\udcff x"), ("ask", "x", "--node", "/\udcff"), ("history", "x", "\udcff")],
)
def test_arguments_that_are_not_utf_8_are_a_usage_error(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "UTF-8" in result.stderr
    assert "Traceback" not in result.stderr


ASCII_ONLY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_locale_without_umlauts_changes_no_file(tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    film(recordings / "Tür [1]", range(3))
    words = '{"start_s": 0, "end_s": 1, "text": "Die Tür."}\n'
    (recordings / "Tür [1].jsonl").write_text(words, encoding="utf-8")
    (recordings / "Öl.txt").touch()
    label = "demo instruction='Sag [/ü]'"
    out = tmp_path / "out"
    done = streamingvlm("evaluate", recordings, "--output", out, "--model", label, **ASCII_ONLY)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.isascii()
    assert "'Sag [/?]'" in done.stdout
    assert "Die Tür." in (out / "report.html").read_text(encoding="utf-8")
    [row] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (row["model"], row["items"]) == (label, 1)
