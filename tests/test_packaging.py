"""Declared dependencies match the imports, and built packages are complete."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import streamingvlm_ros

ROOT = Path(__file__).parent.parent
SETUP = (ROOT / "setup.py").read_text()
MANIFEST = ET.parse(ROOT / "package.xml").getroot()
OURS = {"streamingvlm_ros", "streamingvlm_training"}


def setup_lists() -> dict[str, set[str]]:
    """Return the distributions that setup.py requires, in general and per extra."""
    (call,) = (
        node.value
        for node in ast.parse(SETUP).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    )
    values = {word.arg: word.value for word in call.keywords}
    lists = {
        "": ast.literal_eval(values["install_requires"]),
        **ast.literal_eval(values["extras_require"]),
    }
    return {key: {distribution(line) for line in lines} for key, lines in lists.items()}


def distribution(requirement: str) -> str:
    """Return the normalised name at the start of a requirement."""
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def manifest_names(*tags: str) -> set[str]:
    """Return what package.xml declares under the given tags."""
    return {(element.text or "").strip() for tag in tags for element in MANIFEST.iter(tag)}


def imported_libraries() -> dict[str, Path]:
    """Return top-level names that the package and the trainer import, each with one such file."""
    imported: dict[str, Path] = {}
    for folder in sorted(OURS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                imported |= {name.partition(".")[0]: path for name in names}
    return {name: path for name, path in imported.items() if name not in OURS}


def test_every_imported_library_is_declared() -> None:
    declared = set().union(*setup_lists().values())
    from_ros = manifest_names("depend", "exec_depend")
    owners = packages_distributions()
    undeclared = {
        name: path.relative_to(ROOT)
        for name, path in imported_libraries().items()
        if name not in sys.stdlib_module_names | from_ros
        and not {distribution(owner) for owner in owners.get(name, [name])} & declared
    }
    assert not undeclared, "declare it in setup.py or, if it comes from ROS, in package.xml"


def test_the_models_and_the_ros_dependencies_are_declared() -> None:
    lists = setup_lists()
    assert {"torch", "transformers", "accelerate", "numpy"} <= lists[""]
    assert "qwen-vl-utils" in lists["reference"]
    assert lists["flash"] == {"flash-attn"}
    assert lists["deepspeed"] == {"deepspeed"}
    ros = {"rclpy", "sensor_msgs", "std_msgs", "std_srvs", "diagnostic_msgs", "cv_bridge"}
    assert ros | {"builtin_interfaces"} <= manifest_names("depend", "exec_depend")


def test_the_version_is_the_same_everywhere() -> None:
    command = [sys.executable, "setup.py", "--version"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    newest = re.search(r"^(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert newest
    assert manifest_names("version") == {newest[1]} == {streamingvlm_ros.__version__}
    assert built.stdout.split()[-1] == newest[1]


def test_a_wheel_holds_every_module_and_the_data_beside_them(tmp_path: Path) -> None:
    base = str(tmp_path)
    build = ["build", "--build-base", base, "bdist_wheel", "--bdist-dir", f"{base}/wheel"]
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", base, *build]
    subprocess.run([*command, "--dist-dir", base], cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        str(path.relative_to(ROOT))
        for pattern in ("streamingvlm_ros/**/*", "streamingvlm_training/**/*")
        for path in ROOT.glob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= packed
    assert not {name for name in packed if name.startswith(("tests/", "training/"))}


def test_cmake_installs_the_trainer_as_streamingvlm_training_alone(tmp_path: Path) -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\n"
        "project(modules NONE)\n"
        "set(PYTHON_INSTALL_DIR python)\n"
        f"include({ROOT}/cmake/python_modules.cmake)\n"
    )
    build = tmp_path / "build"
    prefix = tmp_path / "prefix"
    configure = [cmake, "-S", str(tmp_path), "-B", str(build), f"-DCMAKE_INSTALL_PREFIX={prefix}"]
    for command in (configure, [cmake, "--install", str(build)]):
        subprocess.run(command, capture_output=True, text=True, check=True)
    installed = prefix / "python"
    assert {path.name for path in installed.iterdir()} == OURS
    for name in OURS:
        source = {path.relative_to(ROOT / name) for path in (ROOT / name).rglob("*.py")}
        assert {
            path.relative_to(installed / name) for path in installed.glob(f"{name}/**/*.py")
        } == source
    assert (installed / "streamingvlm_training" / "recipes" / "demo.yaml").exists()


def test_the_trainers_old_command_works_in_a_checkout_and_names_the_new_one() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "training.prepare", "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "usage: python -m streamingvlm_training.prepare" in ended.stdout
    note = "note: type python -m streamingvlm_training.prepare instead of training.prepare\n"
    assert note in ended.stderr


PROGRAMS = re.findall(r"add_program\((\w+) ([\w.]+)\)", (ROOT / "CMakeLists.txt").read_text())


@pytest.mark.parametrize(("name", "module"), PROGRAMS)
def test_a_program_of_ros2_run_has_a_main(name: str, module: str) -> None:
    if module.startswith("streamingvlm_ros.ros."):
        pytest.importorskip("rclpy")
    assert callable(importlib.import_module(module).main)


BROKEN_PYTHONS = {
    "assert sys.version_info": "does not run or is older than Python 3.10",
    "ensurepip": "python3-venv",
    "sysconfig": "python3-dev",
}


@pytest.mark.parametrize("lack", BROKEN_PYTHONS)
def test_make_names_missing_parts_of_python(lack: str, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *"{lack}"*) exit 1;; esac\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    assert BROKEN_PYTHONS[lack] in refusal(tmp_path, f"PYTHON={python}")


def test_make_reports_a_missing_python_or_compiler(tmp_path: Path) -> None:
    assert "install Python 3.10" in refusal(tmp_path, "PYTHON=no-such-python")
    assert "install g++" in refusal(tmp_path, "CXX=no-such-compiler", f"PYTHON={sys.executable}")


def refusal(folder: Path, *settings: str) -> str:
    """Return the one line with which make stops before it has installed anything."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    command = [make, "setup", f"VENV={folder}/venv", *settings]
    # Variables of a make that runs these tests must not reach this one.
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert run.returncode
    assert not (folder / "venv").exists()
    first, *rest = run.stderr.splitlines()
    assert all(" Error " in line for line in rest), run.stderr
    return first
