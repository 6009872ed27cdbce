"""Rules of the code: imports between rooms, names, and parameters."""

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
    "available_memory",
    "config",
    "errors",
    "file_hash",
    "file_lock",
    "plural",
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
"""Rooms that a room may import besides the ground and itself."""

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
    """Return every source file with its room."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).parts
        yield (parts[0] if len(parts) > 1 else path.stem), path
    for path in sorted((ROOT / "training").rglob("*.py")):
        yield "training", path


def imports(path: Path) -> Iterator[str]:
    """Return absolute names of a file's imports, including those inside functions."""
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
def test_imports_follow_the_rules_between_rooms(room: str, path: Path) -> None:
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
    """Return each module's imports, including those for type checking and in functions."""
    paths = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for _, p in modules()}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        names = set(imports(path))
        targets = names | {name.rpartition(".")[0] for name in names}
        graph[module] = {name for name in targets if name in paths} - {module}
    return graph


def test_there_are_no_import_cycles() -> None:
    """Imports for type checking count: two modules that name each other are one."""
    try:
        tuple(TopologicalSorter(import_graph()).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


BANNED = re.compile(
    r"_*(its|told|said|heard|hear|there|found|begun|kept|most|(most|MOST)_\w*|MOST)", re.ASCII
)
"""Names that don't describe what they stand for."""

MAX_POSITIONAL = 2
"""Parameters, `self` aside, that may be given by position."""

CONVENTIONAL = {
    "__exit__",  # Python's signature
    "__torch_dispatch__",  # torch's
    "compute_loss",  # transformers' Trainer and its callbacks
    "on_log",
    "on_step_begin",
    "on_step_end",
    "on_train_begin",
    "on_train_end",
    "attend",  # queries, keys, values: the usual order
    "attend_equal_runs",
    "_grouped",
    "one_by_one",
    "rotate",  # x, cos, sin
    "profile",  # sys.setprofile's
    "attend_equal_chunks",  # transformers' attention functions
    "attend_clip_by_clip",
    "attend_flash_or_masked",
    "flash_attn",
    "flash_attn_varlen",
    "interrupt",  # Trainer's callbacks
    "edit_recipe",
    "crash",
    "frame",  # time, height, width
    "call",  # type, service, request
    "sink",  # camera, chunk, narration: a session's CameraSink
    "add",
    "add_narration",
    "_publish",
}
"""Functions whose order of parameters is well known, or not ours to choose."""


def sources(*folders: str) -> list[Path]:
    """Return the Python files to which the rules for names apply."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def named_sources() -> list[Path]:
    folders = (PACKAGE, "training", "perf", "tests", "launch", "docs")
    return [*sources(*folders), ROOT / "setup.py"]


def defined_names(path: Path) -> Iterator[tuple[int, str]]:
    """Return line and name of everything that a file defines."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield node.lineno, name
            case ast.MatchStar(name=str(name)) | ast.alias(asname=str(name)):
                yield node.lineno, name


@pytest.mark.parametrize("path", named_sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_names_are_descriptive(path: Path) -> None:
    names = [(0, path.stem), *defined_names(path)]
    assert not [f"line {line}: {name}" for line, name in names if BANNED.fullmatch(name)]


def positional_parameters(path: Path) -> Iterator[tuple[int, str, int]]:
    """Return line, name and number of positional parameters of each function, without `self`."""
    tree = ast.parse(path.read_text())
    methods = {f for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for f in node.body}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
        if node.name.startswith("test_") or any(d.startswith("pytest.fixture") for d in decorators):
            continue  # pytest gives them by name
        bound = node in methods and "staticmethod" not in decorators
        yield node.lineno, node.name, len(node.args.posonlyargs + node.args.args) - bound


@pytest.mark.parametrize("path", named_sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_further_parameters_are_keyword_only(path: Path) -> None:
    assert not [
        f"line {line}: {name} takes {count} by position"
        for line, name, count in positional_parameters(path)
        if count > MAX_POSITIONAL and name not in CONVENTIONAL
    ]


@pytest.mark.parametrize("path", sources("tests"), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_test_module_imports_another(path: Path) -> None:
    modules = {part for name in imports(path) for part in name.split(".")}
    assert not {module for module in modules if module.startswith("test_")}


FAMILY = re.compile(r"\.(vision_config|text_config|video_token_id)\b|CLIP_MEAN|CLIP_STD|image_mean")
"""Attributes by which a checkpoint's own configuration or normalisation would be read."""


def test_only_one_folder_reads_attributes_of_the_model_family() -> None:
    readers = {
        path.relative_to(ROOT).parent for _, path in modules() if FAMILY.search(path.read_text())
    }
    assert readers == {Path(PACKAGE, "engine", "qwen2_5")}


def test_only_engine_and_training_import_from_behind_the_familys_door() -> None:
    family = f"{PACKAGE}.engine.qwen2_5"
    rooms = {
        room for room, path in modules() if any(name.startswith(family) for name in imports(path))
    }
    assert rooms == {"engine", "training"}


WITHOUT = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
import importlib
for name in {names!r}:
    importlib.import_module(name)
{then}
"""


def run_without(blocked: list[str], names: list[str], *, then: str = "") -> None:
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


def test_the_engine_runs_without_ros() -> None:
    run_without(["rclpy", "sensor_msgs", "cv_bridge"], ["streamingvlm_ros.session"], then=STREAM)


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
        then="from streamingvlm_ros.demo.world import World; World(0).frame(0.5, 56, 56)",
    )


def test_the_camera_works_without_torch() -> None:
    pytest.importorskip("rclpy")
    run_without(
        ["torch", "transformers"],
        ["streamingvlm_ros.ros.demo.synthetic_camera", "streamingvlm_ros.ros.messages"],
    )
