"""Who may import whom. A wall that is crossed by accident is found here, not in a year."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "streamingvlm_ros"
GROUND = {
    "atomic_write",
    "config",
    "errors",
    "file_hash",
    "rank",
    "resources",
    "setting",
    "time_format",
    "types",
    "__init__",
}

MAY_IMPORT: dict[str, set[str]] = {
    "frames": set(),
    "engine": set(),
    "demo": set(),
    "history": set(),
    "bags": set(),
    "session": {"engine"},
    "inbox": {"session", "frames"},
    "ros": {"inbox", "session", "frames", "engine", "demo", "history", "bags"},
    "recordings": {"session", "bags", "frames"},
    "evaluation": {"session", "bags", "engine", "frames", "history", "recordings"},
    "cli": {
        "session",
        "frames",
        "engine",
        "ros",
        "demo",
        "history",
        "bags",
        "recordings",
        "evaluation",
    },
    "training": {"engine", "demo", "recordings", "bags", "frames"},
}
"""Rooms that a room may import beside the ground and itself."""

ONLY_IN: dict[str, set[str]] = {
    "rclpy": {"ros"},
    "sensor_msgs": {"ros"},
    "torch": {"engine", "training"},
    "transformers": {"engine", "training", "cli"},
}
"""Libraries that only some rooms may touch."""

NEVER_IN: dict[str, set[str]] = {"engine": {"time", "datetime", "os"}}
"""The engine has no clock and no environment: both reach it as data."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every source file with the room that it lies in."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).parts
        yield (parts[0] if len(parts) > 1 else path.stem), path
    for path in sorted((ROOT / "training").rglob("*.py")):
        yield "training", path


def imports(path: Path) -> Iterator[str]:
    """Absolute names of what a file imports, also inside functions."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *([node.module] if node.module else [])))
            yield from (f"{name}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("room", "path"), [pytest.param(r, p, id=str(p.relative_to(ROOT))) for r, p in modules()]
)
def test_imports_stay_within_the_walls(room: str, path: Path) -> None:
    for name in imports(path):
        top, *rest = name.split(".")
        if top == PACKAGE and rest:
            target = rest[0]
            allowed = GROUND | {room} | MAY_IMPORT.get(room, set())
            generated = room == "ros" and target in ("msg", "srv", "action")
            assert target in allowed or generated, f"{room}: {name}"
        elif top in ("training", "streamingvlm_training"):
            assert room in ("training", "cli"), f"{room} imports {name}"
        elif top in ONLY_IN:
            assert room in ONLY_IN[top], f"{room} imports {name}"
        assert top not in NEVER_IN.get(room, set()), f"{room} imports {name}"


def test_every_room_is_known() -> None:
    assert {room for room, _ in modules()} == set(MAY_IMPORT) | GROUND


def import_graph() -> dict[str, set[str]]:
    """Modules of the package and what each imports, type checking and functions included."""
    paths = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for _, p in modules()}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        names = set(imports(path))
        targets = names | {name.rpartition(".")[0] for name in names}
        graph[module] = {name for name in targets if name in paths} - {module}
    return graph


def test_no_module_imports_itself_by_a_detour() -> None:
    """An import for type checking counts: two modules that name each other are one."""
    try:
        tuple(TopologicalSorter(import_graph()).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


FAMILY = re.compile(r"\.(vision_config|text_config|video_token_id)\b|CLIP_MEAN|CLIP_STD|image_mean")
"""How a checkpoint's own configuration or its normalisation would be read."""


def test_only_one_folder_reads_what_belongs_to_the_model_family() -> None:
    readers = {
        path.relative_to(ROOT).parent for _, path in modules() if FAMILY.search(path.read_text())
    }
    assert readers == {Path(PACKAGE, "engine", "qwen2_5")}


WITHOUT = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
import importlib
for name in {names!r}:
    importlib.import_module(name)
{then}
"""


def run_without(blocked: list[str], names: list[str], then: str = "") -> None:
    code = WITHOUT.format(blocked=blocked, names=names, then=then)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


STREAM = """
import numpy as np
from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.types import Chunk, Frame
settings = Settings().updated({"min_frame_tokens": 1, "max_frame_tokens": 6})
stream = StreamingEngine.from_pretrained("tests/data/parity/checkpoint", settings).open_stream()
frame = Frame(np.zeros((56, 84, 3), np.uint8), 0)
stream.step(Chunk((frame, frame), 0, 10**9))
"""


def test_the_engine_runs_where_there_is_no_ros() -> None:
    run_without(["rclpy", "sensor_msgs", "cv_bridge"], ["streamingvlm_ros.session"], STREAM)


def test_frames_and_the_world_work_without_torch() -> None:
    run_without(
        ["torch", "transformers", "rclpy"],
        [
            "streamingvlm_ros.session",
            "streamingvlm_ros.inbox",
            "streamingvlm_ros.frames.chunker",
            "streamingvlm_ros.frames.chunk_buffer",
            "streamingvlm_ros.frames.video",
        ],
        "from streamingvlm_ros.demo.world import World; World(0).frame(0.5, 56, 56)",
    )


def test_the_camera_works_without_torch() -> None:
    pytest.importorskip("rclpy")
    run_without(
        ["torch", "transformers"],
        ["streamingvlm_ros.ros.demo.synthetic_camera", "streamingvlm_ros.ros.conversions"],
    )
