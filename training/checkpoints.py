"""States of a run, to go on from: which are whole, and what it means if one can't be written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer import TRAINER_STATE_NAME

from streamingvlm_ros.errors import ModelError

_PREFIX = "checkpoint-"
_OF_TORCH = (".pt", ".pth")
_TORCH_WRITES = "inline_container"
"""Source of torch that writes files: its error is a RuntimeError, as is too little memory."""


def last_whole(steps: Path) -> tuple[Path | None, list[Path]]:
    """The last state that was written to its end, and later ones that were not."""
    found = [its for its in steps.glob(f"{_PREFIX}*") if _step(its).isdecimal()]
    broken: list[Path] = []
    for state in sorted(found, key=lambda its: int(_step(its)), reverse=True):
        if _is_whole(state):
            return state, broken
        broken.append(state)
    return None, broken


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """ModelError if it fails: each library has its own error for a full disk."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and _TORCH_WRITES not in str(error):
            raise
        raise ModelError(
            f"can't write {folder}: {error}; with more room, --resume goes on from the last whole "
            "state"
        ) from error


def _step(state: Path) -> str:
    return state.name.removeprefix(_PREFIX)


def _is_whole(state: Path) -> bool:
    """Whether Trainer wrote its own file, which is last, and none was cut off after that.

    Only the ends of files are read: a crash of the machine may leave them short.
    """
    try:
        json.loads((state / TRAINER_STATE_NAME).read_text())
        for file in state.rglob("*.safetensors"):
            with safe_open(file, framework="pt"):
                pass
    except (OSError, ValueError, SafetensorError):
        return False
    return all(map(zipfile.is_zipfile, (f for f in state.rglob("*") if f.suffix in _OF_TORCH)))
