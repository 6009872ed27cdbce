"""The size of a checkpoint's weights, read from the headers of its safetensors files."""

from __future__ import annotations

from pathlib import Path

import torch

from .checkpoint_files import stored_tensors, weight_files
from .memory import check_free

_FLOATS = {"F64", "F32", "F16", "BF16"}
"""Types that are converted to the model's own when they are loaded."""

_BYTES = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2}
"""Bytes of a number of the other types; 1 if not listed, such as F8_E4M3 and packed ones."""


def check_weights(folder: Path, dtype: torch.dtype, *, device: torch.device) -> None:
    """Check that a device has memory for a checkpoint's weights.

    Raises:
        ConfigError: It hasn't.
    """
    check_free(
        weights_bytes(folder, dtype),
        device,
        what=f"the weights of {folder} in {str(dtype).removeprefix('torch.')}",
        remedy=lambda: (
            "free some, choose a smaller model"
            + (", or set dtype to bfloat16" if dtype.itemsize > 2 else "")
        ),
    )


def weights_bytes(folder: Path, dtype: torch.dtype) -> int:
    """Return the memory that a checkpoint's weights take in `dtype`."""
    return sum(
        count * (dtype.itemsize if kind in _FLOATS else _BYTES.get(kind, 1))
        for path in weight_files(folder)
        for kind, count in stored_tensors(path)
    )
