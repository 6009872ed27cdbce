"""Unreadable arguments and unwritable output are reported in one line by every command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ..support.cli import assert_one_error_line, command, environment, run


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
