"""Child processes of the demo: started, watched and ended."""

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
"""Seconds that a process may take to end after SIGINT before it is killed."""

_LOG_LINES = 15
"""Lines of a log quoted in an error message."""


@dataclass(frozen=True)
class NodeSpec:
    """A node to start: the module that runs it and its ROS parameters."""

    name: str
    module: str
    parameters: Mapping[str, str]

    def command(self, namespace: str) -> list[str]:
        """Return the command line that starts this node in `namespace`."""
        ros_args = ["--ros-args", "-r", f"__ns:={namespace}"]
        for name, value in self.parameters.items():
            ros_args += ["-p", f"{name}:={value}"]
        return [sys.executable, "-m", self.module, *ros_args]


class ProcessError(StreamingVLMError):
    """A process ended unexpectedly. The message contains the end of its log."""


@dataclass(frozen=True)
class NodeProcess:
    """A running node and its log file."""

    name: str
    child: subprocess.Popen[bytes]
    log: Path

    def log_end(self) -> str:
        """Return the last lines of the log, indented."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])

    def check(self) -> None:
        """Raise ProcessError if the process has ended."""
        code = self.child.poll()
        if code is not None:
            message = f"{self.name} ended unexpectedly with exit code {code}. End of its log:"
            raise ProcessError(f"{message}\n{self.log_end()}")


@contextmanager
def run_nodes(nodes: Sequence[NodeSpec], namespace: str) -> Iterator[list[NodeProcess]]:
    """Start the nodes for the block and always end them. Call from the main thread only."""
    with tempfile.TemporaryDirectory(prefix="streamingvlm-") as folder:
        processes: list[NodeProcess] = []
        try:
            for node in nodes:
                with _deferred_signals():
                    processes.append(_start(node, namespace, folder=Path(folder)))
            yield processes
        finally:
            _stop(processes)


@contextmanager
def _deferred_signals() -> Iterator[None]:
    """Handle signals at the end of the block: a process just being started would be left behind."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {n: signal.signal(n, lambda number, _: received.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])


def _start(node: NodeSpec, namespace: str, *, folder: Path) -> NodeProcess:
    log = folder / f"{node.name}.log"
    with log.open("wb") as file:
        # A session of its own: Ctrl-C reaches only the demo, which then ends its nodes in order.
        child = subprocess.Popen(
            node.command(namespace),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return NodeProcess(node.name, child, log)


def _stop(processes: Sequence[NodeProcess]) -> None:
    """Send SIGINT to every process, and kill those that still run after a few seconds."""
    for process in processes:
        if process.child.poll() is None:
            process.child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _STOP_S
    for process in processes:
        try:
            process.child.wait(max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C: at once
            process.child.kill()
            process.child.wait()
