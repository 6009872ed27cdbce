"""`streamingvlm demo` with its nodes in processes connected by ROS 2."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamingvlm_ros.cli.demo.scoreboard import Scoreboard
from streamingvlm_ros.config import DEMO_CHECKPOINT
from streamingvlm_ros.errors import StreamingVLMError

from ..support.cli import ROOT, command, environment, streamingvlm
from .script_node import script_node

pytest.importorskip("rclpy", reason="the demo needs ROS 2")
pytest.importorskip("streamingvlm_ros.msg", reason="the demo needs this package's interfaces")
demo_run = pytest.importorskip("streamingvlm_ros.cli.demo.run")
PATIENCE_S = 120.0
needs_model = pytest.mark.skipif(
    not (DEMO_CHECKPOINT / "config.json").is_file(), reason="`make demo-model` trains the model"
)


@pytest.fixture
def domain() -> Iterator[str]:
    """A ROS domain that no other test on this machine uses."""
    from ..ros.ros_peer import own_domain

    number, mark = own_domain()
    with mark:
        yield str(number)


@needs_model
def test_headless_ends_with_one_line_of_json_and_no_process_left(domain: str) -> None:
    result = streamingvlm("demo", "--headless", "--seconds", 10, ROS_DOMAIN_ID=domain)
    assert result.returncode == 0, result.stderr
    [line] = result.stdout.splitlines()
    summary = json.loads(line)
    assert summary["rounds"] == 10
    # Seconds that a slow machine misses count as wrong: at most one for each dropped frame.
    assert summary["accuracy"] >= 0.8 - summary["dropped_frames"] / summary["rounds"]
    assert 0 < summary["lag_p50_s"] <= summary["lag_p95_s"]
    assert summary["seed"] == 10_000
    assert nodes_of(domain) == {}


@needs_model
def test_an_interrupt_ends_the_nodes_and_prints_the_summary(domain: str) -> None:
    with started("demo", "--headless", domain=domain) as child:
        wait_for_nodes(domain, child)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 130, err
    assert json.loads(out)["rounds"] < 60
    assert "Traceback" not in err
    assert nodes_of(domain) == {}


@needs_model
def test_a_node_that_dies_ends_the_demo_with_its_name(domain: str) -> None:
    with started("demo", "--headless", domain=domain) as child:
        narrator = wait_for_nodes(domain, child)["narrator"]
        os.kill(narrator, signal.SIGKILL)
        out, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 1
    assert out == ""
    assert "error: narrator ended unexpectedly with exit code -9" in err
    assert nodes_of(domain) == {}


@needs_model
def test_a_second_demo_in_the_same_domain_is_rejected(domain: str) -> None:
    with started("demo", "--headless", domain=domain) as child:
        wait_for_nodes(domain, child)
        second = streamingvlm("demo", "--headless", "--seconds", 1, ROS_DOMAIN_ID=domain)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=PATIENCE_S)
    assert second.returncode == 1
    assert "a demo is already running" in second.stderr


def test_without_ros_the_error_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "rclpy.py").write_text("raise ImportError('no rclpy here')\n")
    result = streamingvlm("demo", "--headless", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert result.returncode == 1
    assert "error: the demo needs ROS 2" in result.stderr
    assert "streamingvlm doctor" in result.stderr


@needs_model
@pytest.mark.slow
def test_the_demo_ends_if_nothing_is_narrated_for_too_long(
    domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import time; print('thinking', flush=True); time.sleep(60)"
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    monkeypatch.setattr(demo_run, "_MAX_SILENCE_S", 10.0)
    monkeypatch.setattr(demo_run, "_nodes", lambda seed: [script_node(code)])
    with pytest.raises(StreamingVLMError, match="nothing was narrated for 10 s") as error:
        demo_run.run_demo(Scoreboard(), lambda image: None, seed=0, rounds=1, images=False)
    assert "thinking" in str(error.value)


@contextmanager
def started(*arguments: object, domain: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process beside the test, ended if the test fails."""
    child = subprocess.Popen(
        command(*arguments),
        env=environment(ROS_DOMAIN_ID=domain),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            child.wait(PATIENCE_S)


def nodes_of(domain: str) -> dict[str, int]:
    """Name and process id of our nodes in a ROS domain, read from /proc."""
    nodes = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
            environ = (process / "environ").read_bytes().decode().split("\0")
        except OSError:
            continue
        modules = [word for word in words if word.startswith("streamingvlm_ros.ros.")]
        if modules and f"ROS_DOMAIN_ID={domain}" in environ:
            nodes[modules[0].rpartition(".")[2]] = int(process.name)
    return nodes


def wait_for_nodes(domain: str, child: subprocess.Popen[str]) -> dict[str, int]:
    while len(nodes := nodes_of(domain)) < 2:
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    return nodes
