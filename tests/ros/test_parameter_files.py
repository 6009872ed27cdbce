"""The parameter files document every parameter as it is declared, and launch files agree."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamingvlm_ros.bags.config import BagConfig, RecorderConfig
from streamingvlm_ros.config import Settings
from streamingvlm_ros.history.config import HistoryConfig
from streamingvlm_ros.ros.config import NodeConfig
from streamingvlm_ros.setting import Setting, settings_of

from .conftest import ROOT

NARRATOR_FILE = ROOT / "config" / "narrator.yaml"
RECORDER_FILE = ROOT / "config" / "recorder.yaml"
NARRATE_LAUNCH_FILE = ROOT / "launch" / "narrate.launch.py"

NARRATOR = settings_of(NodeConfig) | settings_of(HistoryConfig) | settings_of(Settings)
RECORDER = settings_of(RecorderConfig) | settings_of(BagConfig)


def comments(file: Path) -> dict[str, str]:
    """Return the comment above each parameter of a file, in one line."""
    by_parameter, block = {}, list[str]()
    for line in file.read_text().splitlines():
        if parameter := re.match(r"    #?(\w+): ", line):
            by_parameter[parameter[1]] = " ".join(block)
            block = []
        elif comment := re.match(r"    # (?!---)(.*)", line):
            block.append(comment[1])
        else:
            block = []
    return by_parameter


def documentation(setting: Setting) -> str:
    """Return a parameter's comment: description, allowed values, and if it can be changed live."""
    parts = [setting.description]
    if setting.range:
        parts.append(f"One of: {setting.range}." if setting.choices else f"{setting.range}.")
    if not setting.read_only:
        parts.append("(live)")
    return " ".join(parts)


def file_parameters(file: Path) -> dict[str, Any]:
    (parameters,) = yaml.safe_load(file.read_text()).values()
    return dict(parameters["ros__parameters"])


@pytest.mark.parametrize(
    ("file", "settings"), [(NARRATOR_FILE, NARRATOR), (RECORDER_FILE, RECORDER)], ids=lambda _: ""
)
def test_every_parameter_is_documented_as_it_is_declared(
    file: Path, settings: dict[str, Setting]
) -> None:
    documented = comments(file)
    documented.pop("topics", None)  # the recorder's own, without a group
    assert documented == {name: documentation(setting) for name, setting in settings.items()}


def test_the_narrators_file_has_every_parameter_with_its_default() -> None:
    defaults = dict(re.findall(r"^    #?(\w+): (.+)$", NARRATOR_FILE.read_text(), re.MULTILINE))
    assert {name: json.loads(value) for name, value in defaults.items()} == {
        name: setting.default for name, setting in NARRATOR.items()
    }


def test_the_recorders_file_has_every_parameter_with_its_default() -> None:
    defaults = {name: setting.default for name, setting in RECORDER.items()}
    assert file_parameters(RECORDER_FILE) == {**defaults, "topics": [""]}


def test_the_narrators_file_sets_nothing_that_a_checkpoint_may_set() -> None:
    assert set(file_parameters(NARRATOR_FILE)).isdisjoint(Settings().flat())


@pytest.mark.parametrize(
    ("file", "settings"), [(NARRATOR_FILE, NARRATOR), (RECORDER_FILE, RECORDER)], ids=lambda _: ""
)
def test_every_value_in_a_file_is_accepted(file: Path, settings: dict[str, Setting]) -> None:
    for name, value in file_parameters(file).items():
        if name != "topics":
            settings[name].check(value)


def test_launch_arguments_name_the_accepted_values() -> None:
    tree = ast.parse(NARRATE_LAUNCH_FILE.read_text())
    (descriptions,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARAMETERS"
    )
    del descriptions["use_sim_time"]  # ROS's own
    for name, description in descriptions.items():
        setting = NARRATOR[name]
        assert all(choice in description for choice in setting.choices), name
        if setting.low is not None:
            assert f"{setting.low:g} to {setting.high:g}" in description, name
