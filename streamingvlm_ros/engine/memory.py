"""Measuring, checking and freeing the memory of models."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import torch

from ..available_memory import available_bytes
from ..errors import ConfigError

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


def check_free(
    needed_bytes: int, device: torch.device, *, what: str, remedy: Callable[[], str]
) -> None:
    """Check that a device has room for `needed_bytes` more, before they are allocated.

    Raises:
        ConfigError: It hasn't. The message names the numbers, and ends with `remedy()`.
    """
    free = free_bytes(device)
    if free is not None and needed_bytes > free:
        place = f"of {device}'s memory" if device.type == "cuda" else "of main memory"
        raise ConfigError(
            f"{what} take {needed_bytes / 1e9:.1f} GB, but only {free / 1e9:.1f} GB {place} are "
            f"free: {remedy()}"
        )


def free_bytes(device: torch.device) -> int | None:
    """Return the memory in bytes that can still be allocated on a device; None if unknown."""
    if device.type == "cuda":
        # What torch has reserved and doesn't use is free to us, though not to others.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return available_bytes() if device.type == "cpu" else None
