"""Examples in the documents work unchanged."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import av

from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World

ROOT = Path(__file__).parent.parent


def film(path: Path, world: World, *, seconds: int) -> None:
    """Write two frames per second, with hardly any loss by compression."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width = stream.height = 112
        stream.bit_rate = 20_000_000
        for half in range(2 * seconds):
            image = world.frame(half / 2, 112, 112)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))


def test_the_example_of_the_engine_from_python_runs_and_is_short(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 15
    worlds = {name: World(FIRST_UNSEEN_SEED + n) for n, name in enumerate(("front", "rear"))}
    for name, world in worlds.items():
        film(tmp_path / f"{name}.mp4", world, seconds=6)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *narrations, answer = done.stdout.splitlines()
    captions = [line.split(" ", 1)[1] for line in narrations]
    truth = [world.caption(second) for second in range(6) for world in worlds.values()]
    assert sum(map(str.__eq__, captions, truth)) >= 10
    assert answer
