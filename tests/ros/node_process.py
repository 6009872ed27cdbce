"""Nodes in processes of their own. A narrator is forked from a process that has imported torch.

Importing torch and transformers takes many times as long as everything else in a narrator's start.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 180.0
"""Longest wait for any event; a passing test never waits so long, on any machine."""

_PR_SET_PDEATHSIG = 1

_PRELOADED = [
    "streamingvlm_ros.engine.engine",
    "streamingvlm_ros.engine.model",
    "streamingvlm_ros.ros.narrator.node",
    "tests.ros.node_process",
]


class Process:
    """A node in a process of its own. Its log goes to a file."""

    def __init__(
        self,
        module: str,
        parameters: dict[str, Any],
        *,
        domain: int,
        preloaded: bool | None = None,
    ) -> None:
        """Start `streamingvlm_ros.ros.MODULE`; by default a narrator is `preloaded`."""
        arguments = ["--ros-args"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={value}"]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
        with tempfile.NamedTemporaryFile(suffix=".log", delete=False) as log:
            self._log = Path(log.name)
            if module == "narrator" if preloaded is None else preloaded:
                self.child: Any = _Forked(module, arguments, environment=environment, log=log.name)
                return
            self.child = subprocess.Popen(
                [sys.executable, "-m", f"streamingvlm_ros.ros.{module}", *arguments],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self) -> int:
        """Send SIGINT, wait for the end, and return the exit code."""
        self.child.send_signal(signal.SIGINT)
        try:
            return int(self.child.wait(PATIENCE_S))
        finally:
            self.child.kill()


class _Forked:
    """The parts of subprocess.Popen that tests use, for a process forked from a preloaded one."""

    def __init__(
        self, module: str, arguments: list[str], *, environment: dict[str, str], log: str
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self._process = context.Process(
            target=_run_node,
            args=(module, arguments),
            kwargs={"environment": environment, "log": log},
        )
        with patch.dict(os.environ, {"OMP_NUM_THREADS": "1"}):  # the first call starts the server
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def send_signal(self, number: int) -> None:
        if self._process.is_alive():
            os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0.0)
        return self._process.exitcode

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run_node(module: str, arguments: list[str], *, environment: dict[str, str], log: str) -> None:
    # If the tests are killed, the fork server ends, and no node may outlive it in its ROS domain.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    sys.argv = [module, *arguments]
    runpy.run_module(f"streamingvlm_ros.ros.{module}", run_name="__main__", alter_sys=True)
