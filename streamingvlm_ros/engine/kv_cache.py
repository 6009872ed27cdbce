"""A fixed arena for the keys and values of all streams and questions, and its allocation.

Keys are stored twice: as the layer made them, and rotated for their current positions. Attention
reads the rotated ones, so a token costs no rotation of the past; after an eviction they are rotated
again from the unrotated ones, so that text can move a thousand times without loss of precision
(docs/decisions/0002).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .attention import rotate


@dataclass(frozen=True)
class CacheShape:
    """Sizes of an arena."""

    layers: int
    heads: int
    head_dim: int
    slots: int

    def nbytes(self, dtype: torch.dtype) -> int:
        """Memory of an arena of this shape."""
        return 3 * self.layers * self.heads * (self.slots + 1) * self.head_dim * dtype.itemsize


class KVCache:
    """Slots 0 to `slots` - 1 hold tokens; one more, `scratch`, takes values that are never read."""

    def __init__(self, shape: CacheShape, dtype: torch.dtype, *, device: torch.device) -> None:
        self.slots = self.scratch = shape.slots
        size = (shape.layers, shape.heads, shape.slots + 1, shape.head_dim)
        self.unrotated_keys = torch.zeros(size, dtype=dtype, device=device)
        self.keys = torch.zeros(size, dtype=dtype, device=device)
        self.values = torch.zeros(size, dtype=dtype, device=device)

    def write(
        self, layer: int, slots: Tensor, *, unrotated: Tensor, rotated: Tensor, values: Tensor
    ) -> None:
        """Write (tokens, heads, head_dim) keys and values of one layer to `slots`, (tokens,)."""
        self.unrotated_keys[layer].index_copy_(1, slots, unrotated.transpose(0, 1))
        self.keys[layer].index_copy_(1, slots, rotated.transpose(0, 1))
        self.values[layer].index_copy_(1, slots, values.transpose(0, 1))

    def move(self, sources: Tensor, start: int, *, cos: Tensor, sin: Tensor) -> None:
        """Copy the slots `sources` to `start` and after, rotated for their new positions.

        `sources` must not overlap the target. `cos` and `sin` are float32 (tokens, head_dim).
        """
        target = slice(start, start + len(sources))
        for unrotated, keys, values in zip(
            self.unrotated_keys, self.keys, self.values, strict=True
        ):
            unrotated[:, target] = unrotated.index_select(1, sources)
            values[:, target] = values.index_select(1, sources)
            keys[:, target] = rotate(unrotated[:, target], cos, sin)

    def clear(self) -> None:
        """Set all slots to zero."""
        for arena in self._arenas:
            arena.zero_()

    def copy_from(self, other: KVCache, *, source: int, target: int, tokens: int) -> None:
        """Copy tokens unchanged from an arena of the same model, possibly this one."""
        for written, read in zip(self._arenas, other._arenas, strict=True):
            written[:, :, target : target + tokens] = read[:, :, source : source + tokens]

    @property
    def nbytes(self) -> int:
        """Memory of the arena."""
        return sum(arena.nbytes for arena in self._arenas)

    @property
    def _arenas(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.unrotated_keys, self.keys, self.values


class SlotAllocator:
    """Allocates intervals of an arena's slots from `start` on, first fit, up to `end` if given."""

    def __init__(self, start: int, end: int | None = None) -> None:
        self._start, self._limit = start, end
        self._taken: list[tuple[int, int]] = []

    @property
    def end(self) -> int:
        """End of the last allocated interval; `start` if there is none."""
        return self._taken[-1][1] if self._taken else self._start

    def has_room(self, slots: int) -> bool:
        """True if an interval of `slots` slots is free."""
        return self._limit is None or self._first_fit(slots) + slots <= self._limit

    def allocate(self, slots: int) -> int:
        """Allocate an interval, for which there must be room; return its start."""
        start = self._first_fit(slots)
        self._taken = sorted([*self._taken, (start, start + slots)])
        return start

    def free(self, start: int) -> None:
        """Free the interval that begins at `start`."""
        self._taken = [interval for interval in self._taken if interval[0] != start]

    def _first_fit(self, slots: int) -> int:
        start = self._start
        for taken_start, taken_end in self._taken:
            if taken_start - start >= slots:
                break
            start = taken_end
        return start
