"""The text decoder's loop over the layers that transformers loaded, on a fixed KV arena.

Ours, so that the cache can be moved, rolled back and shared, and so that a decode step has the
same shapes every time. Training runs transformers' own forward; tests hold both to the same
logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..kv_cache import CacheShape, KVCache, rotate


class Decoder:
    """Runs tokens through a loaded Qwen2.5-VL's text layers. Holds weights, but no stream."""

    def __init__(self, model: Any) -> None:
        """`model` is a Qwen2_5_VLForConditionalGeneration in evaluation mode."""
        text = model.model.language_model
        self._embed, self._layers = text.embed_tokens, text.layers
        self._norm, self._head, self._rotary = text.norm, model.lm_head, text.rotary_emb
        self._heads = text.config.num_key_value_heads
        self._groups = text.config.num_attention_heads // self._heads
        self._head_dim = text.config.hidden_size // text.config.num_attention_heads
        self.dtype: torch.dtype = self._embed.weight.dtype
        self.device: torch.device = self._embed.weight.device
        self.vocabulary: int = self._head.out_features

    def new_cache(self, window: int, room: int = 0) -> KVCache:
        """An empty arena for a stream of `window` tokens and branches of `room` more."""
        shape = CacheShape(len(self._layers), self._heads, self._head_dim, window, room)
        return KVCache(shape, self.dtype, self.device)

    def embed(self, ids: Tensor) -> Tensor:
        """(tokens, hidden) embeddings of (tokens,) ids."""
        embedded: Tensor = self._embed(ids)
        return embedded

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine, each float32 (tokens, head_dim), of (3, tokens) float32 positions."""
        like = torch.empty(0, dtype=torch.float32, device=self.device)
        cos, sin = self._rotary(like, positions[:, None])
        return cos[0], sin[0]

    def prefill(self, embedded: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        """Append (tokens, hidden) embeddings to the cache; logits (1, vocabulary) of the last."""
        start, end = cache.length, cache.length + len(embedded)
        slots = torch.arange(end, device=self.device)
        return self.extend(
            embedded, positions, slots <= slots[start:, None], cache, slots[-1:] - start
        )

    def extend(
        self, embedded: Tensor, positions: Tensor, mask: Tensor, cache: KVCache, wanted: Tensor
    ) -> Tensor:
        """Append (tokens, hidden) embeddings to the cache; logits of the `wanted` ones of them.

        `mask` (tokens, slots) is true where a token sees a slot, of all slots that are then in
        use. `wanted` holds indices of tokens; the logits are (wanted, vocabulary).
        """
        start, cache.length = cache.length, cache.length + len(embedded)
        slots = torch.arange(start, cache.length, device=self.device)
        return self._logits(self._run(embedded, positions, slots, mask, cache)[wanted])

    def step(self, token: Tensor, position: Tensor, slot: Tensor, cache: KVCache) -> Tensor:
        """One token through the layers; logits (1, vocabulary).

        `token` and `slot` are (1,), `position` (3, 1). Every shape is the same at every step,
        whatever the cache holds: attention looks at the stream's whole window through a mask. The
        caller advances `cache.length`.
        """
        mask = torch.arange(cache.window, device=self.device)[None] <= slot[:, None]
        return self._logits(self._run(self.embed(token), position, slot, mask, cache))

    def _run(
        self, hidden: Tensor, positions: Tensor, slots: Tensor, mask: Tensor, cache: KVCache
    ) -> Tensor:
        """(tokens, hidden) after all layers. Attention sees as many slots as `mask` has columns."""
        end = mask.shape[1]
        cos, sin = self.rotation(positions)
        mask = mask.repeat(self._groups, 1)
        for index, layer in enumerate(self._layers):
            normed = layer.input_layernorm(hidden)
            queries, key, value = self._project(layer.self_attn, normed)
            cache.write(index, slots, key, value, cos, sin)
            keys, values = cache.keys[index, :, :end], cache.values[index, :, :end]
            attended = self._attend(rotate(queries, cos, sin), keys, values, mask)
            hidden = hidden + layer.self_attn.o_proj(attended)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return hidden

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._head(self._norm(hidden))
        return logits

    def _project(self, attention: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (groups, heads, tokens, head_dim), keys and values (heads, tokens, head_dim)."""
        shape = (len(hidden), self._heads, -1, self._head_dim)
        queries = attention.q_proj(hidden).view(shape).permute(2, 1, 0, 3)
        key = attention.k_proj(hidden).view(shape).permute(2, 1, 0, 3)[0]
        value = attention.v_proj(hidden).view(shape).permute(2, 1, 0, 3)[0]
        return queries, key, value

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Attention of (groups, heads, tokens, head_dim) queries; (tokens, hidden).

        The query heads that share a key head are laid side by side as further queries of it:
        grouped attention without repeating the cache.
        """
        groups, heads, tokens, head_dim = queries.shape
        rows = queries.transpose(0, 1).reshape(1, heads, groups * tokens, head_dim)
        out = F.scaled_dot_product_attention(rows, keys[None], values[None], attn_mask=mask)
        out = out.view(heads, groups, tokens, head_dim).permute(2, 0, 1, 3)
        return out.reshape(tokens, -1)
