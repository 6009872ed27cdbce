"""The source distribution is complete: what is built from it works outside a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from .support.world_bags import film

ROOT = Path(__file__).parent.parent


def run(*words: str, folder: Path, **variables: str) -> str:
    """Run a program in `folder`, without this checkout on its path; return its output."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ended = subprocess.run(
        words, cwd=folder, env=env | variables, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def tracked_files() -> set[str]:
    """Return the repository's files, as git lists them."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = run(git, "ls-files", "--cached", "-z", folder=ROOT)
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and unpack it."""
    base = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(base), "sdist"]
    run(*command, "--dist-dir", str(base), folder=ROOT)
    (archive,) = base.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(base, filter="data")
    (folder,) = (path for path in base.glob("streamingvlm_ros-*") if path.is_dir())
    return folder


@pytest.fixture(scope="module")
def wheel(unpacked: Path) -> Path:
    """Build a wheel from the unpacked source distribution."""
    run(sys.executable, "setup.py", "-q", "bdist_wheel", folder=unpacked)
    (path,) = unpacked.glob("dist/*.whl")
    return path


def test_the_source_distribution_holds_every_file_of_the_repository(unpacked: Path) -> None:
    tracked = tracked_files()
    assert not {name for name in tracked if not (unpacked / name).is_file()}


def test_a_wheel_built_from_it_holds_the_modules_and_their_data(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    ours = ("streamingvlm_ros/", "streamingvlm_training/")
    assert {name for name in tracked_files() if name.startswith(ours)} <= packed
    shared = {name.partition("/data/share/")[2] for name in packed if "/data/share/" in name}
    assert {"streamingvlm_ros/config/fastdds.xml", "streamingvlm_ros/msg/Answer.msg"} <= shared


RESOURCES = """
from streamingvlm_ros.resources import resource
print(resource("config/fastdds.xml"), resource("msg/Answer.msg"))
"""


@pytest.mark.parametrize("kind", ["--user", "--prefix", "--target"])
def test_an_installation_finds_its_configuration_and_its_messages(
    kind: str, wheel: Path, tmp_path: Path
) -> None:
    # Not the environment of the tests: pip refuses --user in a virtual environment.
    python = sys._base_executable  # type: ignore[attr-defined]
    places = [] if kind == "--user" else [str(tmp_path)]
    variables = {"PYTHONUSERBASE": str(tmp_path), "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run(*pip, kind, *places, str(wheel), folder=tmp_path, **variables)
    (package,) = tmp_path.rglob("streamingvlm_ros/resources.py")
    variables["PYTHONPATH"] = str(package.parent.parent)
    paths = run(python, "-c", RESOURCES, folder=tmp_path, **variables).split()
    assert len(paths) == 2
    assert all(tmp_path in Path(path).parents for path in paths)


def test_the_shipped_model_narrates_from_a_wheel_outside_the_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    modules, bag = tmp_path / "modules", film(tmp_path / "bag", range(3))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run(*pip, "--target", str(modules), str(wheel), folder=tmp_path)
    command = [sys.executable, "-m", "streamingvlm_ros.cli", "replay", str(bag)]
    variables = {"PYTHONPATH": str(modules), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    narrated = run(*command, "--model", "demo", "--format", "jsonl", folder=tmp_path, **variables)
    rounds = [json.loads(line) for line in narrated.splitlines()]
    assert len(rounds) == 3
    assert any(round["text"] for round in rounds)
