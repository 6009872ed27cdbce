"""The text decoder's loop over the layers that transformers loaded, on a fixed KV arena.

Ours, so that the cache can be moved and shared, and so that a decode step has the same shapes
every time. Training runs transformers' own forward; tests hold both to the same logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ModelError
from ..attention import Attend, rotate, signed
from ..kv_cache import CacheShape, KVCache

Linear = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Layer:
    """One decoder layer: two norms, and linear maps, merged where they share their input."""

    attention_norm: nn.Module
    queries_keys_values: Linear
    attention_out: Linear
    mlp_norm: nn.Module
    gate_and_up: Linear
    mlp_out: Linear


class Decoder:
    """Runs tokens through a loaded Qwen2.5-VL's text layers. Holds weights, but no state."""

    def __init__(self, model: Any) -> None:
        """`model` is a Qwen2_5_VLForConditionalGeneration in evaluation mode."""
        text = model.model.language_model
        config = text.config
        self._embed, self._norm, self._head = text.embed_tokens, text.norm, model.lm_head
        self._to_logits = _linear(self._head)
        self._rotary = text.rotary_emb
        self._layers = [_layer(layer) for layer in text.layers]
        self._query_heads: int = config.num_attention_heads
        self._key_heads: int = config.num_key_value_heads
        self._head_dim: int = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        self.dtype: torch.dtype = self._embed.weight.dtype
        self.device: torch.device = self._embed.weight.device
        self.vocabulary: int = self._head.out_features
        self.rotation(torch.zeros(3, 1, device=self.device))  # raises before the first round

    def new_cache(self, slots: int) -> KVCache:
        """Return an empty arena of `slots` tokens."""
        return KVCache(self._cache_shape(slots), self.dtype, device=self.device)

    def cache_bytes(self, slots: int) -> int:
        """Return the memory that `new_cache` takes."""
        return self._cache_shape(slots).nbytes(self.dtype)

    def _cache_shape(self, slots: int) -> CacheShape:
        return CacheShape(len(self._layers), self._key_heads, self._head_dim, slots)

    def embed(self, ids: Tensor) -> Tensor:
        """Return (tokens, hidden) embeddings of (tokens,) ids."""
        embedded: Tensor = self._embed(ids)
        return embedded

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and signed sine, each float32 (tokens, head_dim).

        `positions` are float32 (3, tokens).

        Raises:
            ModelError: transformers is older than 5.17, and doesn't merge the three positions.
        """
        like = torch.empty(0, dtype=torch.float32, device=self.device)
        cos, sin = self._rotary(like, positions[:, None])
        expected = (1, positions.shape[1], self._head_dim)
        if cos.shape != expected or sin.shape != expected:
            raise ModelError(
                f"transformers {transformers.__version__} gives rotary embeddings of shape "
                f"{tuple(cos.shape)}, not {expected}: pip install -U 'transformers>=5.17,<6'"
            )
        return cos[0], signed(sin[0])

    def forward(
        self,
        embedded: Tensor,
        positions: Tensor,
        *,
        slots: Tensor,
        cache: KVCache,
        attend: Attend,
    ) -> Tensor:
        """Write (tokens, hidden) embeddings to the cache; (tokens, hidden) after all layers.

        `positions` are float32 (3, tokens), `slots` (tokens,).
        """
        cos, sin = (part[:, None] for part in self.rotation(positions))
        hidden = embedded
        heads = (self._query_heads + self._key_heads, self._key_heads)
        for index, layer in enumerate(self._layers):
            projected = layer.queries_keys_values(_normed(hidden, layer.attention_norm))
            turning, values = projected.view(len(hidden), -1, self._head_dim).split(heads, dim=1)
            rotated = rotate(turning, cos, sin)
            cache.write(
                index,
                slots,
                unrotated=turning[:, self._query_heads :],
                rotated=rotated[:, self._query_heads :],
                values=values,
            )
            attended = attend(
                rotated[:, : self._query_heads], cache.keys[index], cache.values[index]
            )
            hidden = hidden + layer.attention_out(attended)
            gate, up = layer.gate_and_up(_normed(hidden, layer.mlp_norm)).chunk(2, dim=-1)
            hidden = hidden + layer.mlp_out(F.silu(gate) * up)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Return (tokens, vocabulary) logits of (tokens, hidden) after all layers."""
        return self._to_logits(_normed(hidden, self._norm))


def _layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        layer.input_layernorm,
        _merged([attention.q_proj, attention.k_proj, attention.v_proj]),
        _linear(attention.o_proj),
        layer.post_attention_layernorm,
        _merged([mlp.gate_proj, mlp.up_proj]),
        _linear(mlp.down_proj),
    )


def _normed(hidden: Tensor, norm: Any) -> Tensor:
    return F.rms_norm(hidden, (hidden.shape[-1],), norm.weight, norm.variance_epsilon)


def _merged(linears: Sequence[nn.Module]) -> Linear:
    """Merge linear maps of one input; the originals become views, so memory use doesn't grow.

    Maps with more than plain weights, such as quantised ones, stay separate.
    """
    if not all(map(_is_plain, linears)):
        separate = [_linear(linear) for linear in linears]
        return lambda x: torch.cat([linear(x) for linear in separate], dim=-1)
    weight, bias = _merge_parameters(linears, "weight"), _merge_parameters(linears, "bias")
    assert weight is not None
    return partial(F.linear, weight=weight, bias=bias)


def _linear(linear: nn.Module) -> Linear:
    """Return a map of (tokens, features); a quantiser's gets the batch axis that it expects.

    Without that axis compressed-tensors rounds all tokens by one scale, not each by its own.
    """
    if _is_plain(linear):
        return linear
    return lambda x: linear(x[None])[0]


def _is_plain(linear: nn.Module) -> bool:
    """Return True if a map is nothing but its weights: no subclass, and nothing wrapped round it.

    compressed-tensors rounds the inputs of an ordinary nn.Linear in a forward of its own.
    """
    wrapped = "forward" in vars(linear) or linear._forward_pre_hooks or linear._forward_hooks
    return type(linear) is nn.Linear and not wrapped


def _merge_parameters(linears: Sequence[Any], name: str) -> Tensor | None:
    """Merge parameters into one tensor, of which each becomes a view; None if there are none."""
    parameters = [getattr(linear, name) for linear in linears]
    if parameters[0] is None:
        return None
    with torch.no_grad():
        merged = torch.cat([parameter.data for parameter in parameters])
        for parameter, part in zip(
            parameters, merged.split([len(p) for p in parameters]), strict=True
        ):
            parameter.data = part
    return merged
