"""Measuring and freeing the memory of models."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def release_memory() -> None:
    """Free the memory of models without references, also on the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def reset_peak(device: torch.device) -> None:
    """Restart the measurement of `peak_mb`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _FORGET.exists():
        _FORGET.write_text("5")  # resets the peak of resident memory: proc(5)


def peak_mb(device: torch.device) -> float:
    """Return the peak in MB since `reset_peak`: of the GPU's memory, or else of this process.

    0 where the system reports none.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    lines = _STATUS.read_text().splitlines() if _STATUS.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
