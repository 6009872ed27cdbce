"""What can't be read or written is one clear line, whatever was asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ..support.cli import assert_one_error_line, command, environment, streamingvlm


def test_a_full_disk_is_one_clear_line() -> None:
    with Path("/dev/full").open("w") as full:
        child = subprocess.run(
            command("--help"), env=environment(), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert_one_error_line(child, "No space left on device")


def test_a_closed_output_is_one_clear_line() -> None:
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
def test_bytes_that_are_no_text_are_a_usage_error(arguments: tuple[str, ...]) -> None:
    result = streamingvlm(*arguments)
    assert result.returncode == 2
    assert "UTF-8" in result.stderr
    assert "Traceback" not in result.stderr
