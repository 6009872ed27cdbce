"""Checkpoints of a run to resume from: which are complete, and errors while writing one."""

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
_TORCH_SUFFIXES = (".pt", ".pth")
_TORCH_WRITER = "inline_container"
"""torch's source file for writing. Its errors are RuntimeErrors, as is a lack of memory."""


def last_complete(steps: Path) -> tuple[Path | None, list[Path]]:
    """Return the last complete checkpoint below `steps`, and later incomplete ones."""
    checkpoints = [path for path in steps.glob(f"{_PREFIX}*") if _step(path).isdecimal()]
    incomplete: list[Path] = []
    for checkpoint in sorted(checkpoints, key=lambda path: int(_step(path)), reverse=True):
        if _is_complete(checkpoint):
            return checkpoint, incomplete
        incomplete.append(checkpoint)
    return None, incomplete


@contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """Raise ModelError if writing `path` fails. Each library has its own error for a full disk."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and _TORCH_WRITER not in str(error):
            raise
        raise ModelError(
            f"can't write {path}: {error}; free some disk space, then continue from the last "
            "complete checkpoint with --resume"
        ) from error


def _step(checkpoint: Path) -> str:
    return checkpoint.name.removeprefix(_PREFIX)


def _is_complete(checkpoint: Path) -> bool:
    """Return True if Trainer's own file, which it writes last, is there and no file is cut off.

    Only the ends of files are read. A crash of the machine may leave them short.
    """
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text())
        for path in checkpoint.rglob("*.safetensors"):
            with safe_open(path, framework="pt"):
                pass
    except (OSError, ValueError, SafetensorError):
        return False
    saved_by_torch = (p for p in checkpoint.rglob("*") if p.suffix in _TORCH_SUFFIXES)
    return all(map(zipfile.is_zipfile, saved_by_torch))
