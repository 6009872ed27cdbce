"""Attention: rotary embeddings, the slots that tokens see, and the kernels.

A token of the decoder sees two intervals of slots: its own row's tokens up to itself, and, for a
question about a stream, the stream's tokens as they were when it was asked. A token of the vision
tower sees its own run: a window of a frame, or a whole frame.

Backends: `varlen` is torch's FlashAttention 2 for sequences of different lengths, without masks
(CUDA, half precision); `flash` is the same call with FlashAttention 3's kernels, where that is
installed; `masked` is scaled_dot_product_attention with masks, for everything else.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError

try:
    from torch.nn.attention import varlen
except ImportError:  # an older torch
    varlen = None  # type: ignore[assignment]

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(tokens, query heads, head_dim) queries against one layer's (heads, slots, head_dim) keys and
values: (tokens, query heads * head_dim)."""

FLASH_3 = "flash_attn_interface"
"""The module that FlashAttention 3 installs."""

AttendRun = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(tokens, heads, head_dim) queries, keys and values: attended values of the same shape."""


@dataclass(frozen=True, slots=True)
class Span:
    """Successive query tokens and the slots that they see, as [start, end) known to the host.

    The tokens are the last of `own`, and each sees `own` only up to itself; all see `shared`.
    """

    tokens: int
    own: tuple[int, int]
    shared: tuple[int, int] = (0, 0)

    @property
    def own_tokens(self) -> int:
        """Number of slots in `own`."""
        return self.own[1] - self.own[0]

    @property
    def shared_tokens(self) -> int:
        """Number of slots in `shared`."""
        return self.shared[1] - self.shared[0]


@dataclass(frozen=True, slots=True)
class RowSpans:
    """Slots seen by one token of each decode row: (rows,) on the device, [start, end)."""

    own_start: Tensor
    own_end: Tensor
    shared_start: Tensor
    shared_end: Tensor


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (…, head_dim) by broadcastable (…, head_dim); `sin` comes from `signed`.

    Halves are split: the layout of the decoder, its cache and the vision tower.

    Computed in the float32 of `cos` and `sin` and rounded once, so that a key written by a layer
    and one rotated again from its unrotated bytes are equal.
    """
    swapped = torch.cat(x.chunk(2, dim=-1)[::-1], dim=-1)
    return (x * cos + swapped * sin).to(x.dtype)


def signed(sin: Tensor) -> Tensor:
    """Negate the first half of (…, head_dim), so that `rotate` needn't do it for every token."""
    first, second = sin.chunk(2, dim=-1)
    return torch.cat([-first, second], dim=-1)


def choose_backend(name: str, device: torch.device, *, dtype: torch.dtype) -> str:
    """Return the backend for a setting; 'auto' takes `varlen` where it works.

    Raises:
        ConfigError: the requested backend doesn't work here.
    """
    if name == "masked":
        return name
    missing = _missing(device, dtype)
    if name == "flash" and not missing and importlib.util.find_spec(FLASH_3) is None:
        missing = f"{FLASH_3} (FlashAttention 3) is not installed"
    if not missing:
        return "varlen" if name == "auto" else name
    if name == "auto":
        return "masked"
    raise ConfigError(f"attention {name!r} can't be used: {missing}; use 'auto'")


def activate(backend: str) -> None:
    """Prepare torch for a backend, process-wide."""
    if backend == "masked":
        avoid_cudnn()
    if backend == "flash":
        torch.nn.attention.activate_flash_attention_impl("FA3")


def _missing(device: torch.device, dtype: torch.dtype) -> str:
    """Return why torch's own FlashAttention can't be used; empty if it can."""
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return f"it needs CUDA and half precision, not {device.type} and {dtype}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "it needs an Ampere GPU or newer"
    known = inspect.signature(varlen.varlen_attn).parameters if varlen else {}
    if not {"seqused_k", "enable_gqa"} <= set(known):
        return f"torch {torch.__version__} is too old: it needs 2.13"
    return ""


def avoid_cudnn() -> None:
    """Keep masked attention away from cuDNN, process-wide.

    Since torch 2.11 masked attention on an H100 goes to cuDNN, which builds a plan for every new
    shape (a new one each round) and keeps all of them; it is also reported to give wrong results
    for few key heads (pytorch #193893) and NaN gradients (pytorch #196678).
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


def over_spans(backend: str, spans: Sequence[Span], *, device: torch.device) -> Attend:
    """Return the attention of tokens whose spans the host knows."""
    if backend == "masked":
        return _masked_spans(spans, device)
    bounds = [[*span.own, *span.shared] for span in spans]
    counts = [span.tokens for span in spans]
    has_shared = [span.shared_tokens > 0 for span in spans for _ in range(span.tokens)]
    return _flash(
        RowSpans(*torch.tensor(bounds, device=device).unbind(1)),
        query_ends=torch.tensor([0, *accumulate(counts)], dtype=torch.int32, device=device),
        has_shared=torch.tensor(has_shared, device=device) if any(has_shared) else None,
        max_query=max(counts),
        max_keys=max(max(span.own_tokens, span.shared_tokens) for span in spans),
    )


def over_rows(backend: str, rows: RowSpans, *, longest: int) -> Attend:
    """Return the attention of one token per row, which needs no host synchronisation.

    `longest` bounds the length of every interval.
    """
    if backend == "masked":
        return _masked_rows(rows)
    count = len(rows.own_start)
    return _flash(
        rows,
        query_ends=torch.arange(count + 1, dtype=torch.int32, device=rows.own_start.device),
        has_shared=rows.shared_end > rows.shared_start,
        max_query=1,
        max_keys=longest,
    )


def _masked_spans(spans: Sequence[Span], device: torch.device) -> Attend:
    """Return attention that makes one call per span, over only the slots it sees."""
    mask = cache(lambda span, groups, dtype: _additive(_causal(span, device), groups, dtype=dtype))

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        groups, outputs = queries.shape[1] // keys.shape[0], []
        for query, span in zip(queries.split([s.tokens for s in spans]), spans, strict=True):
            added = mask(span, groups, queries.dtype) if span.tokens > 1 else None
            outputs.append(_grouped(query, _seen(keys, span), _seen(values, span), added))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    return attend


def _seen(arena: Tensor, span: Span) -> Tensor:
    own = arena[:, slice(*span.own)]
    if not span.shared_tokens:
        return own
    return torch.cat([arena[:, slice(*span.shared)], own], dim=1)


def _causal(span: Span, device: torch.device) -> Tensor:
    """Return a (tokens, slots) mask: true where a token sees a slot."""
    own, shared = span.own_tokens, span.shared_tokens
    last = torch.arange(own - span.tokens, own, device=device) + shared
    return torch.arange(shared + own, device=device) <= last[:, None]


def _masked_rows(rows: RowSpans) -> Attend:
    """Return attention that makes one call over the whole arena."""
    mask = cache(
        lambda slots, groups, dtype: _additive(_row_mask(rows, slots), groups, dtype=dtype)
    )

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        heads, slots, _ = keys.shape
        return _grouped(
            queries, keys, values, mask(slots, queries.shape[1] // heads, queries.dtype)
        )

    return attend


def _additive(visible: Tensor, groups: int, *, dtype: torch.dtype) -> Tensor:
    """Return the additive mask of scores, made once per pass: (tokens * groups, slots)."""
    added = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    added = added.masked_fill(~visible, -torch.inf)
    return added.repeat_interleave(groups, 0, output_size=len(added) * groups)


def _row_mask(rows: RowSpans, slots: int) -> Tensor:
    """Return a (rows, slots) mask: true where a row's token sees a slot."""
    slot = torch.arange(slots, device=rows.own_start.device)
    own = (slot >= rows.own_start[:, None]) & (slot < rows.own_end[:, None])
    shared = (slot >= rows.shared_start[:, None]) & (slot < rows.shared_end[:, None])
    return own | shared


def _grouped(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Return (tokens, query heads * head_dim) for (tokens, query heads, head_dim) queries.

    Query heads that share a key head are treated as further queries of it: grouped attention
    without repeating the cache. `mask` is as `_additive` makes it.
    """
    tokens, _, head_dim = queries.shape
    heads = keys.shape[0]
    grouped = queries.view(tokens, heads, -1, head_dim).transpose(0, 1)
    groups = grouped.shape[2]
    rows = grouped.reshape(1, heads, tokens * groups, head_dim)
    out = F.scaled_dot_product_attention(rows, keys[None], values[None], attn_mask=mask)
    return out.view(heads, tokens, -1).transpose(0, 1).reshape(tokens, -1)


def _flash(
    rows: RowSpans,
    *,
    query_ends: Tensor,
    has_shared: Tensor | None,
    max_query: int,
    max_keys: int,
) -> Attend:
    """Return a call without masks over own slots, merged with one over any shared slots.

    `has_shared` is (tokens,) and true where a token has shared slots; None if none has. The keys'
    starts need not ascend: given the number of keys used, the kernel reads no ends. How it splits
    the keys follows from `max_keys` and the number of rows, which don't change in a decode step: a
    row's sums don't depend on what the other rows hold.
    """
    # Made once per pass, not once per layer.
    own = _KeySpans(rows.own_start, rows.own_end)
    shared = _KeySpans(rows.shared_start, rows.shared_end)

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        def over(spans: _KeySpans, window: tuple[int, int]) -> tuple[Tensor, Tensor]:
            out, lse = varlen.varlen_attn(
                queries,
                keys.transpose(0, 1),
                values.transpose(0, 1),
                query_ends,
                spans.starts,
                max_query,
                max_keys,
                return_aux=varlen.AuxRequest(lse=True),
                window_size=window,
                enable_gqa=True,
                seqused_k=spans.used,
            )
            return out, lse

        out, lse = over(own, (-1, 0))
        if has_shared is not None:
            shared_out, shared_lse = over(shared, (-1, -1))
            out = _merged(out, lse, shared=shared_out, shared_lse=shared_lse, has_shared=has_shared)
        return out.flatten(1)

    return attend


class _KeySpans:
    """First key and number of keys of each row: int32, as the kernel expects."""

    def __init__(self, start: Tensor, end: Tensor) -> None:
        self.starts = F.pad(start.int(), (0, 1))
        self.used = (end - start).int()


def _merged(
    own: Tensor, own_lse: Tensor, *, shared: Tensor, shared_lse: Tensor, has_shared: Tensor
) -> Tensor:
    """Merge attentions over two sets of keys, (tokens, heads, head_dim), into one over both.

    The log-sum-exp values are (heads, tokens).
    """
    weight = torch.sigmoid(own_lse - shared_lse)
    weight = torch.where(has_shared, weight, 1.0).transpose(0, 1)[..., None]
    return torch.lerp(shared, own, weight.to(own.dtype))


# --- the vision tower: runs of tokens that see only themselves ---


def within_runs(
    backend: str, lengths: Sequence[int], *, device: torch.device, dtype: torch.dtype
) -> AttendRun:
    """Return the attention of tokens in runs of these lengths, one after another.

    Whatever depends on the lengths is computed here, so that the call needs no host
    synchronisation.
    """
    if backend != "masked":
        return _unpadded(lengths, device)
    if len(set(lengths)) == 1:
        return partial(attend_equal_runs, count=len(lengths))
    return _padded(lengths, device, dtype=dtype)


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


def _padded(lengths: Sequence[int], device: torch.device, *, dtype: torch.dtype) -> AttendRun:
    """Return attention over runs padded to the longest, with the padding masked."""
    counts, slots = torch.tensor(lengths)[:, None], torch.arange(max(lengths))
    real = slots < counts
    sources = torch.where(real, counts.cumsum(0) - counts + slots, 0).flatten().to(device)
    tokens = real.flatten().nonzero()[:, 0].to(device)
    mask = torch.zeros(real.shape, dtype=dtype).masked_fill(~real, float("-inf"))
    mask = mask[:, None, None].to(device)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (x.index_select(0, sources) for x in (query, key, value))
        return attend_equal_runs(q, k, v, count=len(lengths), mask=mask).index_select(0, tokens)

    return attend


def _unpadded(lengths: Sequence[int], device: torch.device) -> AttendRun:
    """Return attention by a kernel that takes the runs' boundaries."""
    ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
    longest = max(lengths)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attended = varlen.varlen_attn(query, key, value, ends, ends, longest, longest)
        assert isinstance(attended, Tensor)
        return attended

    return attend
