"""The size of a checkpoint's weights, read from the headers of its safetensors files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError, safe_open

from .memory import check_free

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"

_FLOATS = {"F64", "F32", "F16", "BF16"}
"""Types that are converted to the model's own when they are loaded."""

_BYTES = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2}
"""Bytes of a number of the other types; 1 if not listed, such as F8_E4M3 and packed ones."""


def check_weights(checkpoint: Path | str, dtype: torch.dtype, *, device: torch.device) -> None:
    """Check that a device has memory for the weights, as far as their size is known.

    Raises:
        ConfigError: It hasn't.
    """
    check_free(
        weights_bytes(checkpoint, dtype) or 0,
        device,
        what=f"the weights of {checkpoint} in {str(dtype).removeprefix('torch.')}",
        remedy=lambda: (
            "free some, choose a smaller model"
            + (", or set dtype to bfloat16" if dtype.itemsize > 2 else "")
        ),
    )


def weights_bytes(checkpoint: Path | str, dtype: torch.dtype) -> int | None:
    """Return the memory of the weights in `dtype`; None if their files aren't here or are broken.

    `checkpoint` is a folder or a hub id, whose cached files count.
    """
    try:
        folder = _folder(checkpoint)
        files = _files(folder) if folder else []
        return sum(size for path in files for size in _tensor_sizes(path, dtype)) or None
    # Whatever a broken checkpoint raises: the loader reports it with a reason.
    except (OSError, ValueError, TypeError, KeyError, RecursionError, SafetensorError):
        return None


def _folder(checkpoint: Path | str) -> Path | None:
    if Path(checkpoint).is_dir():
        return Path(checkpoint)
    cached = (try_to_load_from_cache(str(checkpoint), name) for name in (_INDEX, _SINGLE))
    return next((Path(path).parent for path in cached if isinstance(path, str)), None)


def _files(folder: Path) -> list[Path]:
    if (folder / _INDEX).is_file():
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        return [folder / name for name in sorted(set(dict(index["weight_map"]).values()))]
    return [folder / _SINGLE]


def _tensor_sizes(path: Path, dtype: torch.dtype) -> Iterator[int]:
    # As numpy: torch would map the file as memory to write to, which Linux may refuse.
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118  it is no mapping
            tensor = file.get_slice(name)
            kind = tensor.get_dtype()
            size = dtype.itemsize if kind in _FLOATS else _BYTES.get(kind, 1)
            yield math.prod(tensor.get_shape()) * size
