"""A fixed arena for one stream's keys and values.

Keys are kept twice: as the layer made them, and rotated for where they now stand. Attention
reads the rotated ones, so a token costs no rotation of the past; after an eviction they are
rotated afresh from the unrotated ones, so that moving text a thousand times does not wear its
keys down (docs/decisions/0002).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CacheShape:
    """Sizes of an arena: a stream lies in the first `window` slots, branches in `room` more."""

    layers: int
    heads: int
    head_dim: int
    window: int
    room: int = 0


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding in the half-split layout: (…, tokens, head_dim) by (tokens, head_dim).

    Computed in the float32 of `cos` and `sin` and rounded once, so that a key written by a layer
    and one rotated afresh from its unrotated bytes are equal.
    """
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return (x * cos + turned * sin).to(x.dtype)


class KVCache:
    """Slots 0 to `length` hold tokens; the rest is room. The arenas are never allocated again."""

    def __init__(self, shape: CacheShape, dtype: torch.dtype, device: torch.device) -> None:
        self.window, self.capacity = shape.window, shape.window + shape.room
        size = (shape.layers, shape.heads, self.capacity, shape.head_dim)
        self.unrotated_keys = torch.zeros(size, dtype=dtype, device=device)
        self.keys = torch.zeros(size, dtype=dtype, device=device)
        self.values = torch.zeros(size, dtype=dtype, device=device)
        self.length = 0

    def write(
        self, layer: int, slots: Tensor, key: Tensor, value: Tensor, cos: Tensor, sin: Tensor
    ) -> None:
        """Put (heads, tokens, head_dim) keys (unrotated) and values of one layer into `slots`."""
        self.unrotated_keys[layer].index_copy_(1, slots, key)
        self.keys[layer].index_copy_(1, slots, rotate(key, cos, sin))
        self.values[layer].index_copy_(1, slots, value)

    def truncate(self, length: int) -> None:
        """Forget every slot from `length` on."""
        self.length = length

    def keep(self, sources: Tensor, first: int, cos: Tensor, sin: Tensor) -> None:
        """Let slot `first + i` hold what slot `sources[i]` held, rotated for its new place.

        `cos` and `sin` are float32 (tokens, head_dim) for the new positions of `sources`; what
        lies before `first` stays as it is.
        """
        end = first + len(sources)
        for unrotated, keys, values in zip(
            self.unrotated_keys, self.keys, self.values, strict=True
        ):
            unrotated[:, first:end] = unrotated.index_select(1, sources)
            values[:, first:end] = values.index_select(1, sources)
            keys[:, first:end] = rotate(unrotated[:, first:end], cos, sin)
        self.length = end

    @property
    def nbytes(self) -> int:
        """Memory of the arena."""
        arenas = (self.unrotated_keys, self.keys, self.values)
        return sum(arena.nbytes for arena in arenas)
