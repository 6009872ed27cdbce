"""Help, and the doctor's report of what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from streamingvlm_ros import __version__
from streamingvlm_ros.config import SamplingConfig
from streamingvlm_ros.setting import settings_of

from ..support.cli import environment, run, streamingvlm


def test_help_names_every_command() -> None:
    result = streamingvlm("--help")
    assert result.returncode == 0
    for name in ("demo", "narrate", "record", "ask", "history", "doctor"):
        assert name in result.stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    result = run("fly")
    assert result.returncode == 2
    assert "fly" in result.stderr


def test_the_command_line_loads_neither_torch_nor_ros() -> None:
    heavy = "{'torch', 'transformers', 'rclpy'}"
    code = f"import sys, streamingvlm_ros.cli; print({heavy} & {{*sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_options_show_the_description_and_range_of_their_setting() -> None:
    declared = settings_of(SamplingConfig)["temperature"]
    result = run("narrate", "--help", COLUMNS="400")
    assert declared.description in result.stdout
    assert f"[{declared.range}]" in result.stdout


def test_doctor_lists_every_check() -> None:
    result = run("doctor")
    for name in ("Python", "torch", "GPU", "attention", "transformers", "ROS 2", "demo model"):
        assert name in result.stdout
    problems = [line for line in result.stdout.splitlines() if line.startswith("✗")]
    assert result.returncode == (1 if problems else 0), result.stdout


def test_doctor_says_what_to_do_without_ros(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    hide(tmp_path, "rclpy")
    result = run("doctor", PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}")
    assert "source /opt/ros/" in result.stdout
    assert "✗ ROS 2" not in result.stdout, "the engine and the trainer need no ROS"


def test_doctor_names_a_middleware_that_cannot_be_loaded() -> None:
    pytest.importorskip("rclpy")
    result = run("doctor", RMW_IMPLEMENTATION="rmw_missing_cpp")
    assert "rmw_missing_cpp can't be loaded" in result.stdout
    assert result.returncode == 1


def test_doctor_fails_without_torch(tmp_path: Path) -> None:
    hide(tmp_path, "torch")
    result = streamingvlm("doctor", PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}")
    assert result.returncode == 1
    assert "pip install torch" in result.stdout
    assert result.stderr == ""


def test_doctor_reports_a_dds_profile_that_does_not_exist(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    profile = str(tmp_path / "none.xml")
    result = run("doctor", FASTDDS_DEFAULT_PROFILES_FILE=profile)
    assert result.returncode == 1
    assert f"{profile} doesn't exist" in result.stdout


def hide(folder: Path, module: str) -> None:
    """Put a module into `folder` that can't be imported and precedes the real one."""
    (folder / f"{module}.py").write_text(f"raise ImportError('no {module} here')\n")


def test_version_is_the_packages() -> None:
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"streamingvlm {__version__}\n")


@pytest.mark.parametrize("command", [(), ("narrate",), ("evaluate",), ("demo",), ("doctor",)])
def test_h_is_help(command: tuple[str, ...]) -> None:
    short, long = run(*command, "-h"), run(*command, "--help")
    assert short.returncode == 0
    assert "Usage: streamingvlm" in short.stdout
    assert short.stdout == long.stdout


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("streamingvlm na", {"narrate"}),
        ("streamingvlm narrate --mod", {"--model"}),
        ("streamingvlm narrate --format ", {"text", "jsonl", "vtt", "bag"}),
    ],
)
def test_completion_offers_commands_options_and_choices(typed: str, expected: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    offered = run(_STREAMINGVLM_COMPLETE="complete_bash", **words)
    assert expected == set(offered.stdout.split())
