"""What several processes of torchrun found, brought to the first one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

from streamingvlm_ros.errors import DataError
from streamingvlm_ros.rank import Rank

T = TypeVar("T")

_PATIENCE = timedelta(days=1)
"""How long one waits for the slowest. That a process has died is noticed at once."""


@contextmanager
def together(rank: Rank) -> Iterator[None]:
    """The processes know each other, through gloo, so that no GPU is needed."""
    if rank.count == 1:
        yield
        return
    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def gathered(own: T, rank: Rank) -> list[T]:
    """What all processes found, in their order; only the first gets it, the others nothing.

    DataError if one of them has died.
    """
    if rank.count == 1:
        return [own]
    found: list[T] | None = [own] * rank.count if rank.number == 0 else None
    try:
        dist.gather_object(own, found)
    except RuntimeError as error:
        raise DataError(f"one of {rank.count} processes has died: {error}") from error
    return found or []
