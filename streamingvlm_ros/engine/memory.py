"""How much memory models take, and giving it back."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def release_memory() -> None:
    """Give back what models that nobody holds any more took, also on the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def forget_peak(device: torch.device) -> None:
    """From now on `peak_mb` is the most that is held from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _FORGET.exists():
        _FORGET.write_text("5")  # the kernel's word for the peak of resident memory: proc(5)


def peak_mb(device: torch.device) -> float:
    """Most megabytes held since: of the GPU's memory, or without one of this process's.

    0 where the system doesn't tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    lines = _STATUS.read_text().splitlines() if _STATUS.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
