"""Attention functions that replace transformers' own in training, registered by name.

When all of the vision tower's chunks are equally long, one call attends to all of them.
transformers loops over chunks, which on a CPU takes most of a training step; on GPUs it was not
measured. transformers passes the chunks' bounds to functions with "flash" in their name.

Packed clips are attended to one by one. With a mask, as transformers does it, the masked part would
take more time than packing saves on padding. Where clips branch, SDPA replaces flash-attn.
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
    """Attend within chunks: (1, heads, tokens, head_dim) to (1, tokens, heads, head_dim).

    Chunks of different lengths, from frames of different sizes, take one call each.
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
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend with SDPA, one call per packed clip.

    `position_ids`, (1, tokens), are 0 where a clip begins. Without them, or with a mask
    (clips, 1, tokens, tokens), rows are attended to as they are.
    """
    if attention_mask is not None or position_ids is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    begins = (position_ids[0] == 0).nonzero()[1:, 0].tolist()
    clips = zip(*(x.tensor_split(begins, dim=2) for x in (query, key, value)), strict=True)
    each = [sdpa_attention_forward(module, *clip, None, **kwargs)[0] for clip in clips]
    return torch.cat(each, dim=1), None


def attend_flash_or_masked(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend with flash-attn, or with SDPA if there is a mask (clips, 1, tokens, tokens).

    flash-attn would take that for a padding mask and read beyond the keys.
    """
    masked = attention_mask is not None and attention_mask.dim() == 4
    attend = sdpa_attention_forward if masked else flash_attention_forward
    return attend(module, query, key, value, attention_mask, **kwargs)


def use_training_attention(model: PreTrainedModel | PeftModel) -> None:
    """Set the model's attention functions for training.

    A model loaded with flash-attn keeps it, except where clips branch.
    """
    register_attention()
    avoid_cudnn()
    if model.config.get_text_config()._attn_implementation != FLASH:
        model.set_attn_implementation({"vision_config": EQUAL_CHUNKS, "text_config": CLIP_BY_CLIP})


def register_attention() -> None:
    """Register the functions with transformers; FLASH replaces its own.

    Under another name transformers would not find flash-attn's kernels: it would look for them on
    the hub.
    """
    AttentionInterface.register(EQUAL_CHUNKS, attend_equal_chunks)
    AttentionInterface.register(CLIP_BY_CLIP, attend_clip_by_clip)
    AttentionInterface.register(FLASH, attend_flash_or_masked)
