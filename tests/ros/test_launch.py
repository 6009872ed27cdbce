"""Launch files, and the parameter file that they load."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from streamingvlm_ros.msg import Narration

from streamingvlm_ros.bags.config import BagConfig, RecorderConfig
from streamingvlm_ros.config import Settings
from streamingvlm_ros.history.config import HistoryConfig
from streamingvlm_ros.ros.config import NodeConfig
from streamingvlm_ros.setting import settings_of

from .conftest import ROOT

FILE = ROOT / "config" / "narrator.yaml"
RECORDER_FILE = ROOT / "config" / "recorder.yaml"


def test_the_parameter_file_shows_every_parameter_with_its_default() -> None:
    shown = dict(re.findall(r"^    #?(\w+): (.+)$", FILE.read_text(), re.MULTILINE))
    node = defaults_of(NodeConfig, HistoryConfig)
    assert {name: json.loads(value) for name, value in shown.items()} == {
        **node,
        **Settings().flat(),
    }


def test_the_recorders_parameter_file_shows_every_parameter_with_its_default() -> None:
    (parameters,) = yaml.safe_load(RECORDER_FILE.read_text()).values()
    recorder = defaults_of(RecorderConfig, BagConfig)
    assert parameters["ros__parameters"] == {**recorder, "topics": [""]}


def defaults_of(*groups: type) -> dict[str, Any]:
    return {s.name: s.default for group in groups for s in settings_of(group).values()}


def test_the_parameter_file_sets_nothing_that_a_checkpoint_knows_better() -> None:
    (parameters,) = yaml.safe_load(FILE.read_text()).values()
    assert set(parameters["ros__parameters"]).isdisjoint(Settings().flat())


def test_the_parameter_file_says_which_parameters_are_live() -> None:
    text = FILE.read_text()
    for setting in settings_of(Settings).values():
        comment = text[: text.index(f"    #{setting.name}: ")].rsplit(": ", 1)[-1]
        assert ("(live)" in comment) == (not setting.read_only), setting.name


def described(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A launch file's description. launch is not on PyPI: without a ROS 2 install this skips."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed")
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    # The package's share folder is laid out as the repository's root is.
    monkeypatch.setattr(
        "ament_index_python.packages.get_package_share_directory", lambda _: str(ROOT)
    )
    return get_launch_description_from_python_launch_file(str(ROOT / "launch" / name))


@pytest.mark.parametrize("name", ["narrate.launch.py", "replay.launch.py", "demo.launch.py"])
def test_every_launch_argument_is_described(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    description = described(name, monkeypatch)
    arguments = description.get_launch_arguments()
    assert arguments
    assert all(len(argument.description) > 10 for argument in arguments)


def test_ros2_launch_starts_camera_and_narrator_and_ends_them(tmp_path: Path) -> None:
    pytest.importorskip("ros2launch", reason="ros2 launch is not installed")
    from .peer import CHECKPOINT, PATIENCE_S, Peer

    # A checkpoint's own settings reach the node through the launch file's empty arguments.
    for file in CHECKPOINT.iterdir():
        (tmp_path / file.name).symlink_to(file)
    own = {"min_frame_tokens": 1, "max_frame_tokens": 4, "max_new_tokens": 4, "fps": 4.0}
    (tmp_path / "streaming.json").write_text(json.dumps(own))
    command = [sys.executable, "-c", "from ros2cli.cli import main; main()", "launch"]
    command += [str(ROOT / "launch" / "demo.launch.py"), f"model:={tmp_path}", "seed:=3"]
    with Peer() as peer, (tmp_path / "log").open("w") as log:
        heard = peer.subscribe(Narration, "/narrator/narration")
        environment = {**os.environ, "ROS_DOMAIN_ID": str(peer.domain), "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            heard.wait(lambda m: m.frames == 4)
            peer.until(lambda: peer.node.count_publishers("/synthetic_camera/truth"))
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(PATIENCE_S)
        said = (tmp_path / "log").read_text()
        assert said.count("process has finished cleanly") == 2, said
