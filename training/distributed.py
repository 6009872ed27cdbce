"""Results of several torchrun processes, collected by the first one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

from streamingvlm_ros.errors import DataError
from streamingvlm_ros.rank import Rank

T = TypeVar("T")

_TIMEOUT = timedelta(days=1)
"""Limit for the slowest process. The death of a process is noticed at once."""


@contextmanager
def process_group(rank: Rank) -> Iterator[None]:
    """Connect the processes through gloo, which needs no GPU."""
    if rank.count == 1:
        yield
        return
    dist.init_process_group("gloo", timeout=_TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def gather(result: T, rank: Rank) -> list[T]:
    """Return the results of all processes, in their order; an empty list on all but the first.

    Raises:
        DataError: A process has died.
    """
    if rank.count == 1:
        return [result]
    results: list[T] | None = [result] * rank.count if rank.number == 0 else None
    try:
        dist.gather_object(result, results)
    except RuntimeError as error:
        raise DataError(f"one of {rank.count} processes has died: {error}") from error
    return results or []
