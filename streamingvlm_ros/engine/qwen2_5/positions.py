"""M-RoPE positions of a sequence of segments: those of a fresh sequence, always contiguous."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor

from ..ledger import Grid, Segment


def positions(
    segments: Iterable[Segment], tokens_per_second: float, *, start: float = 0.0
) -> Tensor:
    """Return (3, tokens) float32 positions on the time, height and width axes.

    Text advances all three axes by one. A vision block fills a box from its start: time in steps of
    `grid_seconds * tokens_per_second` (fractional above 2 frames per second), height and width in
    rows and columns; what follows starts 1 above the largest position used.
    """
    parts: list[Tensor] = []
    for is_text, run in groupby(segments, lambda segment: segment.grid is None):
        if is_text:
            tokens = sum(map(len, run))
            parts.append(_text(tokens) + start)
            start += tokens
            continue
        for segment in run:
            assert segment.grid
            step = segment.grid_seconds * tokens_per_second
            offsets, extent = _vision(segment.grid, step, tokens=len(segment))
            parts.append(offsets + start)
            start += extent
    return torch.cat(parts, dim=1) if parts else torch.empty(3, 0)


def _text(tokens: int) -> Tensor:
    return torch.arange(tokens, dtype=torch.float32).expand(3, -1)


@lru_cache(maxsize=64)
def _vision(grid: Grid, step: float, *, tokens: int) -> tuple[Tensor, float]:
    """Return offsets (3, tokens) of a vision block between its markers, and its extent.

    The block may still lack its end marker. Cached, because the blocks of a camera are equal.
    """
    t, h, w = (torch.arange(n, dtype=torch.float32) for n in grid)
    box = torch.stack(torch.meshgrid(t * step, h, w, indexing="ij")).reshape(3, -1) + 1.0
    end = torch.full((3, 1), float(box.max()) + 1.0)
    offsets = torch.cat([torch.zeros(3, 1), box, end], dim=1)[:, :tokens]
    return offsets, float(offsets.max()) + 1.0
