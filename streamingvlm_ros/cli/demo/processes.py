"""The nodes that a demo starts as processes of their own, and ends again: those and no others."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import StreamingVLMError

_STOP_S = 5.0
"""Time that processes have to end by themselves before they are killed."""

_LOG_LINES = 15


@dataclass(frozen=True)
class Node:
    """A node to start: the module that runs it and its ROS parameters."""

    name: str
    module: str
    parameters: Mapping[str, str]

    def command(self, namespace: str) -> list[str]:
        """The command line that starts this node in `namespace`."""
        ros_args = ["--ros-args", "-r", f"__ns:={namespace}"]
        for name, value in self.parameters.items():
            ros_args += ["-p", f"{name}:={value}"]
        return [sys.executable, "-m", self.module, *ros_args]


class ProcessError(StreamingVLMError):
    """A process ended by itself. The message holds the end of its log."""


@dataclass(frozen=True)
class Process:
    """A running node and the file that holds what it says."""

    name: str
    child: subprocess.Popen[bytes]
    log: Path

    def log_end(self) -> str:
        """The last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])

    def check(self) -> None:
        """Raise ProcessError if the process has ended."""
        code = self.child.poll()
        if code is not None:
            raise ProcessError(
                f"{self.name} ended with exit code {code}. Its log ends:\n{self.log_end()}"
            )


@contextmanager
def running(nodes: Sequence[Node], namespace: str) -> Iterator[list[Process]]:
    """Start the nodes and, whatever happens, end them. From the main thread only."""
    with tempfile.TemporaryDirectory(prefix="streamingvlm-") as folder:
        processes: list[Process] = []
        try:
            for node in nodes:
                with _signals_held():
                    processes.append(_start(node, namespace, Path(folder)))
            yield processes
        finally:
            _stop(processes)


@contextmanager
def _signals_held() -> Iterator[None]:
    """A signal is heard when the block is left: a process that nobody holds yet would go on."""
    heard: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda number, frame: heard.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if heard:
        signal.raise_signal(heard[0])


def _start(node: Node, namespace: str, folder: Path) -> Process:
    log = folder / f"{node.name}.log"
    with log.open("wb") as file:
        # A session of its own: Ctrl-C reaches the demo alone, which then ends its nodes in order.
        child = subprocess.Popen(
            node.command(namespace),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Process(node.name, child, log)


def _stop(processes: Sequence[Process]) -> None:
    """Ask every process to end, and kill those that still run after a few seconds."""
    for process in processes:
        if process.child.poll() is None:
            process.child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _STOP_S
    for process in processes:
        try:
            process.child.wait(max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C: now
            process.child.kill()
            process.child.wait()
