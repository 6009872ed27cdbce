"""Attention of the vision tower: tokens in runs, each of which sees its own run alone, in one call.

A run is a window of a frame, or a whole frame. Backends, as for the text: `varlen` is torch's
FlashAttention for runs of different lengths (CUDA, half precision); `flash` is the same kernel
from the flash-attn package; `masked` is scaled_dot_product_attention, for everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(tokens, heads, head_dim) queries, keys and values: attended values of the same shape."""


def within_runs(
    backend: str, lengths: Sequence[int], *, device: torch.device, dtype: torch.dtype
) -> Attend:
    """Return the attention of tokens in runs of these lengths, one after another.

    What depends on the lengths is computed here, so that calling it asks the host for nothing.
    """
    if backend != "masked":
        return _unpadded(backend, lengths, device)
    if len(set(lengths)) == 1:
        return partial(attend_equal_runs, count=len(lengths))
    return _padded(lengths, device, dtype)


def attend_equal_runs(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    count: int,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention within `count` runs of one length, as one batch.

    `mask` is added to the scores and broadcast to (runs, heads, queries, keys).
    """
    q, k, v = (x.unflatten(0, (count, -1)).transpose(1, 2) for x in (query, key, value))
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return attended.transpose(1, 2).flatten(0, 1)


def _padded(lengths: Sequence[int], device: torch.device, dtype: torch.dtype) -> Attend:
    """Runs padded to the longest, with a mask over what is padding."""
    counts, slots = torch.tensor(lengths)[:, None], torch.arange(max(lengths))
    real = slots < counts
    sources = torch.where(real, counts.cumsum(0) - counts + slots, 0).flatten().to(device)
    kept = real.flatten().nonzero()[:, 0].to(device)
    mask = torch.zeros(real.shape, dtype=dtype).masked_fill(~real, float("-inf"))
    mask = mask[:, None, None].to(device)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (x.index_select(0, sources) for x in (query, key, value))
        return attend_equal_runs(q, k, v, count=len(lengths), mask=mask).index_select(0, kept)

    return attend


def _unpadded(backend: str, lengths: Sequence[int], device: torch.device) -> Attend:
    """A kernel that is told where runs begin and end."""
    kernel = _kernel(backend)
    ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
    longest = max(lengths)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attended: Tensor = kernel(query, key, value, ends, ends, longest, longest)
        return attended

    return attend


def _kernel(backend: str) -> Any:
    """Torch's or flash-attn's; both take the same arguments. Torch before 2.13 has none."""
    if backend == "varlen":
        from torch.nn.attention.varlen import varlen_attn

        return varlen_attn
    from flash_attn import flash_attn_varlen_func

    return flash_attn_varlen_func
