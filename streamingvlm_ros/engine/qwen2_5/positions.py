"""M-RoPE positions of a sequence of segments: those of a fresh sequence, always contiguous."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..ledger import Segment


def positions(segments: Iterable[Segment], tokens_per_second: float, start: float = 0.0) -> Tensor:
    """(3, tokens) float32 positions on the time, height and width axes.

    Text advances all three axes by one. A vision block lies in a box from its start: time in
    steps of `grid_seconds * tokens_per_second` (fractional above 2 frames per second), height
    and width in rows and columns; what follows starts 1 above the largest position used.
    """
    blocks: list[Tensor] = []
    for segment in segments:
        for block in _blocks(segment, tokens_per_second):
            blocks.append(block + start)
            start = float(blocks[-1].max()) + 1.0
    return torch.cat(blocks, dim=1) if blocks else torch.empty(3, 0)


def _blocks(segment: Segment, tokens_per_second: float) -> list[Tensor]:
    """The segment's parts, each with positions from 0."""
    if segment.grid is None:
        return [_text(len(segment))] if len(segment) else []
    step = segment.grid_seconds * tokens_per_second
    return [_text(1), _box(segment.grid, step), _text(1)]


def _text(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float32).expand(3, n)


def _box(grid: tuple[int, int, int], step: float) -> Tensor:
    t, h, w = (torch.arange(n, dtype=torch.float32) for n in grid)
    return torch.stack(torch.meshgrid(t * step, h, w, indexing="ij")).reshape(3, -1)
