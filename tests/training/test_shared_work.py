"""Processes share an export and a check of the data, and continue when one of them is killed.

torchrun starts them, except where one must outlive another: torchrun would end both.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from streamingvlm_ros.config import Settings
from streamingvlm_training.datasets.export import export
from streamingvlm_training.prepare import main

from ..support.cli import run
from .exports import CUT, edit_first_clip, files, inodes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

KILLED_EXPORT = """
import os, signal
from streamingvlm_ros.cli import main
from streamingvlm_training.datasets import export
encode = export._encode
def killed(path, frames, *, start_ns):
    encode(path, ended(frames) if "two" in path.name else frames, start_ns=start_ns)
def ended(frames):
    yield from frames
    os.kill(os.getpid(), signal.SIGKILL)
export._encode = killed
main()
"""
"""Its second video is never complete."""
KILLED_PREPARE = """
import os, signal
from streamingvlm_training import prepare
prepare.count_data = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
prepare.main()
"""


def environment(**more: str) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **more}


def two_processes(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run torchrun with two processes to the end."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *torchrun, "--no-python", sys.executable, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def exporting(bags: Path, output: Path) -> list[object]:
    options = ["--model", "demo", "--clip", 4, "--overlap", 2, "--validation", 3]
    return ["export", bags, "--output", output, *options]


@pytest.fixture(scope="module")
def alone(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that one process writes."""
    output = tmp_path_factory.mktemp("alone")
    assert run(*exporting(bags, output)).returncode == 0
    return files(output)


def test_an_export_resumes_after_a_process_was_killed_and_writes_the_same_files(
    bags: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    killed = two_processes("-c", KILLED_EXPORT, *exporting(bags, tmp_path))
    assert killed.returncode != 0
    assert "SIGKILL" in killed.stderr
    assert not (tmp_path / "train.jsonl").exists()
    before = inodes(tmp_path)
    assert {"one.mp4", "one.jsonl"} <= before.keys()
    assert not {"two.mp4", "two.jsonl"} & before.keys()
    done = two_processes("-m", "streamingvlm_ros.cli", *exporting(bags, tmp_path))
    assert done.returncode == 0, done.stderr
    assert "train: 8 clips of 2 recordings\nvalidation: 4 clips of 1 recordings\n" in done.stdout
    assert files(tmp_path) == alone
    after = inodes(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {"two.mp4", "two.jsonl", "three.mp4"} <= after.keys()


@pytest.fixture
def recipe(bags: Path, tmp_path: Path) -> Path:
    """Files of clips and bags, with something wrong in the share of each of two processes."""
    paths = [bags / "one", bags / "two"]
    export(paths, tmp_path / "data", settings=Settings(), config=CUT, validation=2)
    train = tmp_path / "data" / "train.jsonl"
    edit_first_clip(train, lambda clip: clip[0]["content"][0].update(video_end=90.0))
    *others, last = train.read_text().splitlines()
    train.write_text("\n".join([*others, last.replace("videos/one.mp4", "videos/gone.mp4"), ""]))
    validation = [str(tmp_path / "data" / "validation.jsonl"), str(bags)]
    path = tmp_path / "recipe.yaml"
    path.write_text(
        yaml.safe_dump({"start": "demo", "data": {"train": [str(train)], "validation": validation}})
    )
    return path


def test_two_processes_report_the_same_as_one(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(recipe)]) == 1
    output = capsys.readouterr().out
    assert "ends at 90 s" in output
    assert "there is no video videos/gone.mp4" in output
    done = two_processes("-m", "streamingvlm_training.prepare", recipe)
    assert done.returncode == 1
    assert done.stdout == output


def test_a_process_that_waits_for_a_dead_one_fails_with_the_reason(recipe: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    programs = [["-m", "streamingvlm_training.prepare"], ["-c", KILLED_PREPARE]]
    processes = [
        subprocess.Popen(
            [sys.executable, *program, str(recipe)],
            env=environment(RANK=str(rank), **common),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, program in enumerate(programs)
    ]
    _, why = processes[0].communicate(timeout=100)
    processes[1].communicate(timeout=100)
    assert [process.returncode for process in processes] == [1, -9]
    assert "error: one of 2 processes has died" in why
