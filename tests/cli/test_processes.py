"""Child processes of the demo are started, watched and ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from streamingvlm_ros.cli.demo import processes
from streamingvlm_ros.cli.demo.processes import NodeProcess, NodeSpec, ProcessError, run_nodes

from .script_node import script_node


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def alive(process: NodeProcess) -> bool:
    try:
        os.kill(process.child.pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_node_gets_its_namespace_and_parameters_as_ros_arguments() -> None:
    command = NodeSpec("camera", "a.module", {"seed": "7"}).command("/demo")
    assert command[:3] == [sys.executable, "-m", "a.module"]
    assert command[3:] == ["--ros-args", "-r", "__ns:=/demo", "-p", "seed:=7"]


def test_leaving_the_block_interrupts_the_processes() -> None:
    code = """if True:
        import signal, sys, time
        signal.signal(signal.SIGINT, lambda *_: sys.exit(17))
        print("ready", flush=True)
        time.sleep(60)
    """
    with run_nodes([script_node(code)], "/x") as [process]:
        until(lambda: "ready" in process.log_end())
    assert process.child.returncode == 17


def test_a_process_that_ignores_the_interrupt_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_STOP_S", 0.2)
    code = """if True:
        import signal, time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("ignoring", flush=True)
        time.sleep(60)
    """
    with run_nodes([script_node(code)], "/x") as [process]:
        until(lambda: "ignoring" in process.log_end())
    assert process.child.returncode == -signal.SIGKILL
    assert not alive(process)


def test_processes_are_ended_after_an_error_too() -> None:
    started: list[NodeProcess] = []

    def fail() -> None:
        with run_nodes([script_node("import time; time.sleep(60)")] * 2, "/x") as children:
            started.extend(children)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(started) == 2
    assert not any(map(alive, started))


def test_ctrl_c_during_a_start_leaves_no_process_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    children: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        """Ctrl-C arrives when the process runs and before it is registered."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            children.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)

    def start() -> None:
        with run_nodes([script_node("import time; time.sleep(60)")] * 2, "/x"):
            raise AssertionError

    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
        assert [child.returncode is not None for child in children] == [True]
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        for child in children:
            child.kill()


def test_an_unexpected_end_is_reported_with_the_end_of_the_log() -> None:
    code = "print('early'); raise SystemExit('the camera is on fire')"
    with run_nodes([script_node(code)], "/x") as [process]:
        until(lambda: process.child.poll() is not None)
        with pytest.raises(
            ProcessError, match=r"child ended unexpectedly with exit code 1.*"
        ) as caught:
            process.check()
    assert "the camera is on fire" in str(caught.value)


def test_a_running_process_passes_the_check() -> None:
    with run_nodes([script_node("import time; time.sleep(60)")], "/x") as [process]:
        process.check()
