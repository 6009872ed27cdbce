"""Attention functions for what transformers' own are slow at or can't do, registered by name.

When all of the vision tower's chunks are equally long, they are attended to in one call:
transformers does it in a loop, which on a CPU takes most of a training step; on GPUs it was not
measured. A function with "flash" in its name is told where the chunks begin. Packed clips are
attended to one by one: with a mask, as transformers does it, more time goes into what is masked
than was saved on padding. Where clips branch, SDPA takes the place of flash-attn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.flash_attention import flash_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from streamingvlm_ros.engine.attention import attend_equal_runs, avoid_cudnn

if TYPE_CHECKING:
    from peft import PeftModel

EQUAL_CHUNKS = "equal_chunks_flash"
CLIP_BY_CLIP = "clip_by_clip"
FLASH = "flash_attention_2"


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

    Chunks that differ in length, as those of frames of several sizes, take a call each.
    """
    lengths = cu_seq_lens_q.diff().tolist()
    if len(set(lengths)) > 1:
        chunks = zip(*(x.split(lengths, dim=2) for x in (query, key, value)), strict=True)
        each = [F.scaled_dot_product_attention(q, k, v, scale=scaling) for q, k, v in chunks]
        return torch.cat(each, dim=2).transpose(1, 2), None
    by_token = (x[0].transpose(0, 1) for x in (query, key, value))
    return attend_equal_runs(*by_token, count=len(lengths), scale=scaling)[None], None


def attend_clip_by_clip(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor | None = None,
    **its: Any,
) -> tuple[Tensor, None]:
    """SDPA, of one row a call for each clip: `position_ids`, (1, tokens), are 0 where one begins.

    Without those, rows are attended to as they are. A mask (clips, 1, tokens, tokens) says it all.
    """
    if attention_mask is not None or position_ids is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **its)
    begins = (position_ids[0] == 0).nonzero()[1:, 0].tolist()
    clips = zip(*(x.tensor_split(begins, dim=2) for x in (query, key, value)), strict=True)
    each = [sdpa_attention_forward(module, *clip, None, **its)[0] for clip in clips]
    return torch.cat(each, dim=1), None


def attend_flash_or_masked(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **its: Any,
) -> tuple[Tensor, None]:
    """flash-attn, but SDPA where a mask (clips, 1, tokens, tokens) says what each token sees.

    flash-attn would take that for a mask of padding, and read beyond the keys.
    """
    masked = attention_mask is not None and attention_mask.dim() == 4
    attend = sdpa_attention_forward if masked else flash_attention_forward
    return attend(module, query, key, value, attention_mask, **its)


def choose(model: PreTrainedModel | PeftModel) -> None:
    """Have a model that is to be trained attend by those above.

    One that was loaded with flash-attn keeps it; where clips branch, SDPA takes its place.
    """
    register()
    avoid_cudnn()
    if model.config.get_text_config()._attn_implementation != FLASH:
        model.set_attn_implementation({"vision_config": EQUAL_CHUNKS, "text_config": CLIP_BY_CLIP})


def register() -> None:
    """Make those above known to transformers, FLASH in place of its own.

    By a name of our own transformers would not find flash-attn's kernels: it looks for them on the
    hub unless they are asked for by its own.
    """
    AttentionInterface.register(EQUAL_CHUNKS, attend_equal_chunks)
    AttentionInterface.register(CLIP_BY_CLIP, attend_clip_by_clip)
    AttentionInterface.register(FLASH, attend_flash_or_masked)
