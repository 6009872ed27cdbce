"""Rotary embeddings in the half-split layout, for the decoder, its cache and the vision tower."""

from __future__ import annotations

import torch
from torch import Tensor


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (…, head_dim) by broadcastable (…, head_dim), of which `sin` comes from `signed`.

    Computed in the float32 of `cos` and `sin` and rounded once, so that a key written by a layer
    and one rotated afresh from its unrotated bytes are equal.
    """
    swapped = torch.cat(x.chunk(2, dim=-1)[::-1], dim=-1)
    return (x * cos + swapped * sin).to(x.dtype)


def signed(sin: Tensor) -> Tensor:
    """Negate the first half of (…, head_dim), so that `rotate` needn't do it for every token."""
    first, second = sin.chunk(2, dim=-1)
    return torch.cat([-first, second], dim=-1)
