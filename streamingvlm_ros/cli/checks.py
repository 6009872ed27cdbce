"""The checks of `streamingvlm doctor`. None loads weights or starts a node."""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType

from ..config import DEMO_CHECKPOINT, PUBLISHED_MODEL
from ..resources import resource
from .ros_environment import PROFILE, PROFILE_VARIABLE

# Exits with 1 without rclpy; with another code if the middleware kills the process.
_PRINT_MIDDLEWARE = "import rclpy.utilities as u; print(u.get_rmw_implementation_identifier())"


class State(Enum):
    """State of one check. OPTIONAL: missing, but this machine works without it."""

    OK = "ok"
    OPTIONAL = "optional"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` says what to do; empty if there is nothing to do."""

    subject: str
    state: State
    detail: str
    remedy: str = ""


def run_checks() -> Iterator[Finding]:
    """Yield every finding, in the order of the report."""
    yield _python()
    torch, transformers = _import("torch"), _import("transformers")
    yield _library("torch", torch)
    if torch:
        yield _gpu(torch)
    if torch and transformers:
        yield _attention(torch)
    yield _library("transformers", transformers)
    yield from _ros()
    if torch and transformers:
        yield from _models(torch)


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # OSError: a shared library that can't be loaded
        return None


def _python() -> Finding:
    return Finding("Python", State.OK, platform.python_version())


def _library(name: str, module: ModuleType | None) -> Finding:
    if module is None:
        return Finding(name, State.BROKEN, "can't be imported", f"pip install {name}")
    return Finding(name, State.OK, module.__version__)


def _gpu(torch: ModuleType) -> Finding:
    if not torch.cuda.is_available():
        detail = "none that torch can use; the demo model runs on the CPU, a 7B model needs a GPU"
        return Finding("GPU", State.OPTIONAL, detail)
    device = torch.cuda.get_device_properties(0)
    return Finding("GPU", State.OK, f"{device.name}, {device.total_memory / 2**30:.0f} GiB")


def _attention(torch: ModuleType) -> Finding:
    from transformers.utils import is_flash_attn_2_available  # type: ignore[attr-defined]

    from ..engine.attention import choose_backend

    cuda = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if cuda else ("cpu", torch.float32)
    backend = choose_backend("auto", torch.device(device), dtype=dtype)
    training = "flash-attn" if is_flash_attn_2_available() else "sdpa (no flash-attn)"
    return Finding("attention", State.OK, f"{backend}; for training {training}")


def _ros() -> Iterator[Finding]:
    # In a child process: a middleware that can't be loaded kills the process that loads it.
    command = [sys.executable, "-c", _PRINT_MIDDLEWARE]
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode == 1:
        detail = "rclpy can't be imported; `narrate` works without it, the nodes and the demo don't"
        remedy = "source /opt/ros/<distro>/setup.bash, or run `make demo` in a checkout"
        yield Finding("ROS 2", State.OPTIONAL, detail, remedy)
        return
    if child.returncode:
        implementation = os.environ.get("RMW_IMPLEMENTATION", "the middleware")
        remedy = "install it, or `unset RMW_IMPLEMENTATION`"
        yield Finding("ROS 2", State.BROKEN, f"{implementation} can't be loaded", remedy)
        return
    middleware = child.stdout.strip()
    distro = os.environ.get("ROS_DISTRO", "from Python wheels")
    yield Finding("ROS 2", State.OK, f"{distro}, {middleware}")
    yield _interfaces()
    if "fastrtps" in middleware:
        yield _dds_profile()


def _interfaces() -> Finding:
    if _import("streamingvlm_ros.msg") and _import("streamingvlm_ros.srv"):
        return Finding("interfaces", State.OK, "streamingvlm_ros/msg and srv")
    remedy = "run `pip install .` in a checkout, or `colcon build` and source install/setup.bash"
    return Finding("interfaces", State.BROKEN, "streamingvlm_ros/msg isn't built", remedy)


def _dds_profile() -> Finding:
    selected, profile = os.environ.get(PROFILE_VARIABLE), resource(PROFILE)
    if selected and Path(selected).is_file():
        return Finding("DDS profile", State.OK, selected)
    if selected:
        remedy = f"correct or unset {PROFILE_VARIABLE}"
        return Finding("DDS profile", State.BROKEN, f"{selected} doesn't exist", remedy)
    if profile is None:
        remedy = "reinstall this package, which contains config/fastdds.xml"
        return Finding("DDS profile", State.BROKEN, "not found", remedy)
    detail = "not set in this shell; the demo and the launch files set it, but your camera needs it"
    remedy = f"export {PROFILE_VARIABLE}={profile}"
    return Finding("DDS profile", State.OPTIONAL, detail, remedy)


def _models(torch: ModuleType) -> Iterator[Finding]:
    if (DEMO_CHECKPOINT / "config.json").is_file():
        yield Finding("demo model", State.OK, str(DEMO_CHECKPOINT))
    else:
        remedy = "reinstall this package, which contains it"
        yield Finding("demo model", State.BROKEN, f"not in {DEMO_CHECKPOINT}", remedy)
    if _is_cached(PUBLISHED_MODEL):
        yield Finding("7B model", State.OK, f"{PUBLISHED_MODEL} is in the local cache")
    elif torch.cuda.is_available():
        remedy = f"downloaded on first use, or now with `hf download {PUBLISHED_MODEL}`"
        yield Finding("7B model", State.OPTIONAL, f"{PUBLISHED_MODEL} isn't downloaded yet", remedy)
    else:
        detail = f"{PUBLISHED_MODEL} isn't downloaded; it needs a GPU"
        yield Finding("7B model", State.OPTIONAL, detail)


def _is_cached(hub_id: str) -> bool:
    """Return True if every weight file of a hub model has been downloaded."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(hub_id, "model.safetensors.index.json")
    if not isinstance(index, str):
        return isinstance(try_to_load_from_cache(hub_id, "model.safetensors"), str)
    files = set(json.loads(Path(index).read_text("utf-8"))["weight_map"].values())
    return all((Path(index).parent / file).is_file() for file in files)
