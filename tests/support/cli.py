"""The command line, run in this process or in one of its own, and what it prints."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from streamingvlm_ros.cli import main

ROOT = Path(__file__).parents[2]
TINY_CHECKPOINT = ROOT / "tests" / "data" / "parity" / "checkpoint"
TIMEOUT_S = 180.0
PLAIN_OUTPUT = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with the source tree, plain output, and no access to the hub."""
    source = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **source, **PLAIN_OUTPUT, **changes}


def command(*arguments: object) -> list[str]:
    """The command line of `streamingvlm` with `arguments`."""
    return [sys.executable, "-m", "streamingvlm_ros.cli", *map(str, arguments)]


def streamingvlm(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, to its end.

    A process that hangs fails the test with the stacks of its threads.
    """
    with subprocess.Popen(
        command(*arguments),
        env=environment(PYTHONFAULTHANDLER="1", **environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            out, err = child.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGABRT)
            out, err = child.communicate()
            pytest.fail(f"{child.args} did not end within {TIMEOUT_S:g} s:\n{out}\n{err}")
        finally:
            child.kill()
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


@contextmanager
def restored_signal_handlers() -> Iterator[None]:
    """Undo what a command that runs in this process does to signals."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this process: torch is imported once for all tests."""
    argv = ["streamingvlm", *map(str, arguments)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        patch("sys.argv", argv),
        patch.dict(os.environ, PLAIN_OUTPUT | environ),
        redirect_stdout(out),
        redirect_stderr(err),
        restored_signal_handlers(),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


def assert_one_error_line(result: subprocess.CompletedProcess[str], expected: str) -> None:
    """The command failed with one line that contains `expected`."""
    assert result.returncode == 1, result.stderr
    assert not result.stdout
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("Loading")]
    assert line.startswith("error: ")
    assert expected in line


def read_terminal(descriptor: int) -> str:
    """Everything written to a pseudo-terminal until its other end is closed."""
    written = b""
    try:
        while piece := os.read(descriptor, 4096):
            written += piece
    except OSError:  # on Linux: the other end is closed
        pass
    os.close(descriptor)
    return written.decode()
