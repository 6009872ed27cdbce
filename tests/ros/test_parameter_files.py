"""The documented parameter files and launch arguments agree with the declared settings."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamingvlm_ros.bags.config import BagConfig, RecorderConfig
from streamingvlm_ros.config import Settings
from streamingvlm_ros.history.config import HistoryConfig
from streamingvlm_ros.ros.params import NodeConfig
from streamingvlm_ros.types import AnswerMode

from .conftest import ROOT

NARRATOR_FILE = ROOT / "config" / "narrator.yaml"
RECORDER_FILE = ROOT / "config" / "recorder.yaml"
NARRATE_LAUNCH_FILE = ROOT / "launch" / "narrate.launch.py"

NODE = (NodeConfig, HistoryConfig)
RECORDER = (RecorderConfig, BagConfig)
GROUPS = tuple(type(getattr(Settings(), group.name)) for group in fields(Settings))


def declared(*configs: type) -> dict[str, Any]:
    """Return the declared settings by name."""
    assert all(is_dataclass(config) for config in configs)
    return {item.name: item for config in configs for item in fields(config)}


ALL = declared(*NODE, *RECORDER, *GROUPS)


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


FILE_COMMENTS = [
    pytest.param(name, comment, id=f"{file.stem}: {name}")
    for file in (NARRATOR_FILE, RECORDER_FILE)
    for name, comment in comments(file).items()
]


def quoted(text: str) -> set[str]:
    return set(re.findall(r"(?<!\w)'([\w~-]+)'", text))


@pytest.mark.parametrize(("name", "comment"), FILE_COMMENTS)
def test_a_comment_names_exactly_the_accepted_choices(name: str, comment: str) -> None:
    if name == "topics":
        return
    other_names = {"demo", "auto", "~", *(mode.value for mode in AnswerMode)}
    choices = set(ALL[name].metadata["choices"])
    assert quoted(comment) == choices if choices else quoted(comment) <= other_names


@pytest.mark.parametrize(("name", "comment"), FILE_COMMENTS)
def test_a_comment_names_the_accepted_range(name: str, comment: str) -> None:
    if name == "topics":
        return
    metadata, number = ALL[name].metadata, type(ALL[name].default)
    ranges = re.findall(r"(?<![\w.-])(-?[\d.]+) to ([\d.]+)\.(?: \(live\))?$", comment)
    if metadata["low"] is None:
        assert not ranges
    else:
        ((low, high),) = ranges
        assert (number(low), number(high)) == (metadata["low"], metadata["high"])


def test_every_value_in_a_file_is_accepted() -> None:
    for file, configs in ((NARRATOR_FILE, NODE), (RECORDER_FILE, RECORDER)):
        parameters = file_parameters(file)
        for config in configs:
            config(**{f.name: parameters[f.name] for f in fields(config)})


def test_launch_arguments_name_the_accepted_choices_and_ranges() -> None:
    tree = ast.parse(NARRATE_LAUNCH_FILE.read_text())
    (descriptions,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARAMETERS"
    )
    for name, description in descriptions.items():
        if name == "use_sim_time":  # ROS's own
            continue
        metadata = ALL[name].metadata
        assert all(choice in description for choice in metadata["choices"]), name
        if metadata["low"] is not None:
            assert f"{metadata['low']:g} to {metadata['high']:g}" in description, name


def file_parameters(file: Path) -> dict[str, Any]:
    (parameters,) = yaml.safe_load(file.read_text()).values()
    return dict(parameters["ros__parameters"])


def test_the_narrators_file_has_every_parameter_with_its_default() -> None:
    defaults = dict(re.findall(r"^    #?(\w+): (.+)$", NARRATOR_FILE.read_text(), re.MULTILINE))
    assert {name: json.loads(value) for name, value in defaults.items()} == {
        **{name: item.default for name, item in declared(*NODE).items()},
        **Settings().flat(),
    }


def test_the_recorders_file_has_every_parameter_with_its_default() -> None:
    defaults = {name: item.default for name, item in declared(*RECORDER).items()}
    assert file_parameters(RECORDER_FILE) == {**defaults, "topics": [""]}


def test_the_narrators_file_sets_nothing_that_a_checkpoint_may_set() -> None:
    assert set(file_parameters(NARRATOR_FILE)).isdisjoint(Settings().flat())


@pytest.mark.parametrize(("name", "comment"), FILE_COMMENTS)
def test_a_comment_says_if_the_parameter_is_live(name: str, comment: str) -> None:
    if name != "topics":
        assert ("(live)" in comment) == (not ALL[name].metadata["read_only"])
