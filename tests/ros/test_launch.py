"""Launch files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from streamingvlm_ros.msg import Narration

from .conftest import ROOT


def launch_description(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load a launch file; skip the test without launch, which is not on PyPI."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed")
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    # The package's share folder has the layout of the repository.
    monkeypatch.setattr(
        "ament_index_python.packages.get_package_share_directory", lambda _: str(ROOT)
    )
    return get_launch_description_from_python_launch_file(str(ROOT / "launch" / name))


@pytest.mark.parametrize("name", ["narrate.launch.py", "replay.launch.py", "demo.launch.py"])
def test_every_launch_argument_is_described(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    description = launch_description(name, monkeypatch)
    arguments = description.get_launch_arguments()
    assert arguments
    assert all(len(argument.description) > 10 for argument in arguments)


def test_ros2_launch_starts_camera_and_narrator_and_ends_them(tmp_path: Path) -> None:
    pytest.importorskip("ros2launch", reason="ros2 launch is not installed")
    from .node_process import PATIENCE_S
    from .ros_peer import CHECKPOINT, Peer

    # Empty launch arguments don't override the checkpoint's own settings.
    for file in CHECKPOINT.iterdir():
        (tmp_path / file.name).symlink_to(file)
    own = {"min_frame_tokens": 1, "max_frame_tokens": 4, "max_new_tokens": 4, "fps": 4.0}
    (tmp_path / "streaming.json").write_text(json.dumps(own))
    command = [sys.executable, "-c", "from ros2cli.cli import main; main()", "launch"]
    command += [str(ROOT / "launch" / "demo.launch.py"), f"model:={tmp_path}", "seed:=3"]
    with Peer() as peer, (tmp_path / "log").open("w") as log:
        narrations = peer.subscribe(Narration, "/narrator/narration")
        environment = {**os.environ, "ROS_DOMAIN_ID": str(peer.domain), "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            narrations.wait(lambda m: m.frames == 4)
            peer.until(lambda: peer.node.count_publishers("/synthetic_camera/truth"))
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(PATIENCE_S)
        output = (tmp_path / "log").read_text()
        assert output.count("process has finished cleanly") == 2, output
