"""Every option of the commands that launchers start: none is taken by the launcher."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser

from streamingvlm_ros.cli.app import app
from streamingvlm_training import prepare, sft

from .runs import run_two_processes, write_recipe

LAUNCHERS = {"torchrun": get_args_parser, "accelerate launch": launch_command_parser}
OLD = ("sft", "--start")
"""The only option that torchrun takes for its own. --start-model replaces it."""


def options() -> Iterator[tuple[str, str]]:
    """Yield command and option of every command that may run in several processes."""
    for name, module in (("sft", sft), ("prepare", prepare)):
        for action in module.command_parser()._actions:
            yield from ((name, option) for option in action.option_strings)
    for name in ("export", "evaluate"):
        command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        for parameter in command.params:
            names = (*parameter.opts, *parameter.secondary_opts)
            yield from ((name, option) for option in names if option.startswith("-"))


OPTIONS = sorted(set(options()))


def ambiguous(parser: argparse.ArgumentParser, option: str) -> list[str]:
    """Return the options of a launcher that begin with another command's option."""
    names = parser._option_string_actions
    return [] if option in names else [name for name in names if name.startswith(option)]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_no_option_is_an_ambiguous_abbreviation_of_a_launchers_own(launcher: str) -> None:
    """argparse refuses it, before Python 3.12.6 even behind the name of the script."""
    parser = LAUNCHERS[launcher]()
    clashes = {
        option: matches
        for option in OPTIONS
        if option[1].startswith("--") and len(matches := ambiguous(parser, option[1])) > 1
    }
    assert set(clashes) <= {OLD}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_option_reaches_its_command(launcher: str) -> None:
    for command, option in OPTIONS:
        if (command, option) != OLD:
            parsed = LAUNCHERS[launcher]().parse_args(["-m", "module", "file", option, "value"])
            assert parsed.training_script_args == ["file", option, "value"]


def test_all_commands_are_tested() -> None:
    assert ("sft", "--start-model") in OPTIONS
    assert ("export", "--output") in OPTIONS
    assert ("evaluate", "--model") in OPTIONS


@pytest.mark.parametrize("option", ["--start-model", "--start"])
def test_both_spellings_name_the_start(option: str) -> None:
    for arguments in ([option, "demo"], [f"{option}=demo"]):
        assert sft.command_parser().parse_args(["recipe.yaml", *arguments]).start == "demo"


@pytest.mark.slow
@pytest.mark.parametrize("module", ["streamingvlm_training.sft", "training.sft"])
def test_torchrun_passes_the_start_on(first: Path, tmp_path: Path, module: str) -> None:
    recipe = write_recipe(tmp_path / "r.yaml")
    output = tmp_path / "run"
    done = run_two_processes(
        "-m", module, recipe, "--start-model", first, "--output", output, "--any-start"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((output / "model" / "start.json").read_text())["start"] == str(first)
