"""Attention for the vision tower when all its chunks are equally long: one call for all of them.

transformers attends to each chunk in a loop, which on a CPU takes most of a training step.
Attention functions may be registered by name, and one with "flash" in its name is told where the
chunks begin.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

EQUAL_CHUNKS = "equal_chunks_flash"


def attend_equal_chunks(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    cu_seq_lens_q: Tensor,
    **_: Any,
) -> tuple[Tensor, None]:
    """(1, heads, tokens, head_dim) each; returns (1, tokens, heads, head_dim).

    ValueError if the chunks differ in length: frames of one size are what it is made for.
    """
    lengths = cu_seq_lens_q.diff()
    if not bool((lengths == lengths[0]).all()):
        raise ValueError("frames differ in size: train with vision_attention: sdpa")
    chunks = (len(lengths), int(lengths[0]))
    q, k, v = (x[0].unflatten(1, chunks).transpose(0, 1) for x in (query, key, value))
    attended = F.scaled_dot_product_attention(q, k, v, scale=scaling)
    return attended.permute(0, 2, 1, 3).flatten(0, 1)[None], None


def register() -> None:
    """Make EQUAL_CHUNKS known to transformers."""
    AttentionInterface.register(EQUAL_CHUNKS, attend_equal_chunks)
