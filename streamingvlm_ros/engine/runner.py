"""Decode rows on the KV cache: prefill, and one token a pass for every open row.

It handles rows, slots and logits, not the dialogue. All that changes from token to token (token,
position, lengths, done, ids in the context) lies on the device. A pass without host values can be
captured in a CUDA graph; where there is none, the same pass runs eagerly, with the lengths that the
host knows anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from ..config import SamplingConfig
from .attention import RowSpans, Span, over_rows, over_spans
from .cuda_graph import CudaGraph
from .kv_cache import KVCache
from .qwen2_5.decoder import Decoder
from .sampler import RowSampler

NO_TOKEN = -1
"""Emitted by a row that chose a stop token, reached its limit, or is not open."""

NOT_A_NUMBER = -2
"""Emitted by a row whose logits hold a NaN or an infinity; the row is then done."""

MAX_PREFILL_TOKENS = 2048
"""Maximum number of tokens in one pass: it bounds the memory of attention and its masks."""


@dataclass(frozen=True, slots=True)
class Place:
    """Slots [start, end) of a row's own tokens and of the stream's tokens that it sees."""

    start: int
    end: int
    shared: tuple[int, int] = (0, 0)

    def grown(self, tokens: int) -> Place:
        """Return the place with `tokens` more of the row's own."""
        return replace(self, end=self.end + tokens)


@dataclass(frozen=True, eq=False)
class Feed:
    """Tokens to append to a row: (tokens, hidden) embeddings at (3, tokens) positions.

    `place` is the row's place before them. With `opens`, the next token is chosen after the last.
    """

    row: int
    place: Place
    embedded: Tensor
    positions: Tensor
    opens: bool = True

    def split(self, tokens: int) -> tuple[Feed, Feed | None]:
        """Return the first `tokens` tokens, and the rest if there is one."""
        if tokens >= len(self.embedded):
            return self, None
        first = replace(
            self,
            embedded=self.embedded[:tokens],
            positions=self.positions[:, :tokens],
            opens=False,
        )
        rest = replace(
            self,
            place=self.place.grown(tokens),
            embedded=self.embedded[tokens:],
            positions=self.positions[:, tokens:],
        )
        return first, rest


@dataclass(frozen=True)
class RowLimits:
    """Settings of one turn: the choice of its tokens, and their maximum number.

    `context` are ids to which the repetition penalty applies from the start.
    """

    sampling: SamplingConfig
    context: Iterable[int]
    seed: int
    tokens: int


class Pass:
    """Tokens of one pass, while they are copied from the device."""

    def __init__(self, tokens: Tensor) -> None:
        self._ready = torch.cuda.Event() if tokens.is_cuda else None
        # A copy: the next pass may be launched before this one is read.
        self._tokens = torch.empty_like(tokens, device="cpu", pin_memory=tokens.is_cuda)
        self._tokens.copy_(tokens, non_blocking=True)
        if self._ready:
            self._ready.record()

    def tokens(self) -> list[int]:
        """Wait for the copy; return each row's token, NO_TOKEN or NOT_A_NUMBER."""
        if self._ready:
            self._ready.synchronize()
        ids: list[int] = self._tokens.tolist()
        return ids


class Runner:
    """`streams` rows for narrations, then `questions` rows for answers.

    The rows of a block go through the layers together, always all of them: a row's arithmetic
    doesn't depend on how many others are open. On a GPU all rows are one block; elsewhere
    narrations and answers are two, and a block with no open row costs nothing.
    """

    def __init__(
        self,
        decoder: Decoder,
        cache: KVCache,
        *,
        streams: int,
        questions: int,
        stop_ids: Iterable[int],
        backend: str,
        on_device: bool | None = None,
    ) -> None:
        """Allocate the rows. With `on_device` (the default on CUDA), no pass needs the host."""
        self._decoder, self.cache, self._backend = decoder, cache, backend
        self.rows, device = streams + questions, decoder.device
        self.on_device = device.type == "cuda" if on_device is None else on_device
        together, apart = (0, self.rows), (0, streams, self.rows)
        bounds = together if self.on_device else apart
        self._blocks = [slice(start, end) for start, end in pairwise(bounds)]
        self._places = [Place(0, 0)] * self.rows
        self._open = [False] * self.rows
        self.sampler = RowSampler(self.rows, decoder.vocabulary, device=device)
        self._stop_ids = torch.tensor(sorted({*stop_ids, NOT_A_NUMBER}), device=device)
        self._logits = torch.zeros(
            self.rows, decoder.vocabulary, dtype=decoder.dtype, device=device
        )
        self._position = torch.zeros(self.rows, device=device)
        self._left = torch.zeros(self.rows, dtype=torch.long, device=device)
        self._done = torch.ones(self.rows, dtype=torch.bool, device=device)
        self._emitted = torch.full((self.rows,), NO_TOKEN, device=device)
        self._spans = RowSpans(
            *(torch.zeros(self.rows, dtype=torch.long, device=device) for _ in range(4))
        )
        self._longest = cache.slots
        self._graph = CudaGraph(device)

    def place(self, row: int) -> Place:
        """Return the current place of a row's tokens."""
        return self._places[row]

    def set_place(self, row: int, place: Place) -> None:
        """Set the place of a closed row's tokens after they moved."""
        self._places[row] = place

    def use_cache(self, cache: KVCache, *, longest: int) -> None:
        """Switch to an arena with every row in its old place; `longest` bounds a place."""
        if cache is not self.cache or longest != self._longest:
            self.cache, self._longest = cache, longest
            self._graph.forget()

    def prefill(self, feeds: Sequence[Feed]) -> None:
        """Append the tokens of several rows, together in as few passes as memory allows."""
        for part in _passes(feeds, MAX_PREFILL_TOKENS):
            self._prefill(part)

    def _prefill(self, feeds: Sequence[Feed]) -> None:
        decoder, device = self._decoder, self._decoder.device
        places = [feed.place.grown(len(feed.embedded)) for feed in feeds]
        spans = [
            Span(len(feed.embedded), (place.start, place.end), place.shared)
            for feed, place in zip(feeds, places, strict=True)
        ]
        slots = [
            torch.arange(feed.place.end, place.end)
            for feed, place in zip(feeds, places, strict=True)
        ]
        positions = torch.cat([feed.positions for feed in feeds], dim=1)
        hidden = decoder.forward(
            torch.cat([feed.embedded for feed in feeds]),
            positions.to(device),
            slots=torch.cat(slots).to(device),
            cache=self.cache,
            attend=over_spans(self._backend, spans, device=device),
        )
        end = 0
        for feed, place in zip(feeds, places, strict=True):
            end += len(feed.embedded)
            self._places[feed.row] = place
            if feed.opens:
                self._logits[feed.row] = decoder.logits(hidden[end - 1 : end])[0]
                self._position[feed.row] = float(feed.positions.max()) + 1.0

    def open(self, row: int, limits: RowLimits) -> None:
        """Start emitting up to `limits.tokens` tokens in a row that was fed."""
        place = self._places[row]
        self.sampler.open(row, limits.sampling, context=limits.context, seed=limits.seed)
        for tensor, value in zip(
            (
                self._spans.own_start,
                self._spans.own_end,
                self._spans.shared_start,
                self._spans.shared_end,
            ),
            (place.start, place.end, *place.shared),
            strict=True,
        ):
            tensor[row] = value
        self._left[row], self._done[row] = limits.tokens, False
        self._open[row] = True

    def close(self, row: int) -> None:
        """Stop emitting tokens in a row. Those emitted so far stay in the cache."""
        self._done[row] = True
        self._open[row] = False
        self.sampler.close(row)

    def grow(self, row: int) -> None:
        """Extend a row's place by one token, which the host has read."""
        self._places[row] = self._places[row].grown(1)

    def decode(self) -> Pass:
        """Launch one pass: every open row emits its next token."""
        for block in self._blocks:
            if not any(self._open[block]):
                continue
            self.sampler.draw(block)
            if self.on_device:
                self._graph.run(self.sampler.key, partial(self.step, block))
            else:
                self._step_with_lengths(block)
        return Pass(self._emitted)

    def step(self, rows: slice) -> None:
        """Choose each row's token and take it through the layers, without a host value."""
        self._choose(rows)
        spans = self._grow(rows)
        self._feed(rows, over_rows(self._backend, spans, longest=self._longest))

    def _step_with_lengths(self, rows: slice) -> None:
        """Run `step` with the lengths that the host knows: finished rows cost no attention."""
        self._choose(rows)
        emitted = self._emitted[rows].tolist()
        if all(token < 0 for token in emitted):
            return
        self._grow(rows)
        scratch = (self.cache.scratch, self.cache.scratch + 1)
        spans = [
            Span(1, scratch) if token < 0 else Span(1, (p.start, p.end + 1), p.shared)
            for token, p in zip(emitted, self._places[rows], strict=True)
        ]
        self._feed(rows, over_spans(self._backend, spans, device=self._decoder.device))

    def _choose(self, rows: slice) -> None:
        logits, done = self._logits[rows], self._done[rows]
        finite = torch.linalg.vector_norm(logits, torch.inf, dim=-1) < torch.inf  # not NaN, either
        token = self.sampler.choose(logits, rows).masked_fill(~finite, NOT_A_NUMBER)
        done |= torch.isin(token, self._stop_ids)
        self._emitted[rows] = token.masked_fill(done & finite, NO_TOKEN)

    def _grow(self, rows: slice) -> RowSpans:
        """Extend each unfinished row by a slot; return the spans that the rows then see."""
        spans = self._spans
        spans.own_end[rows] += ~self._done[rows]
        return RowSpans(
            spans.own_start[rows],
            spans.own_end[rows],
            spans.shared_start[rows],
            spans.shared_end[rows],
        )

    def _feed(self, rows: slice, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        done = self._done[rows]
        slots = (self._spans.own_end[rows] - 1).masked_fill(done, self.cache.scratch)
        hidden = self._decoder.forward(
            self._decoder.embed(self._emitted[rows].clamp_min(0)),
            self._position[rows].expand(3, -1),
            slots=slots,
            cache=self.cache,
            attend=attend,
        )
        self._logits[rows] = self._decoder.logits(hidden)
        self._position[rows] += ~done
        self._left[rows] -= (~done).long()
        self._done[rows] |= self._left[rows] <= 0


def _passes(feeds: Sequence[Feed], limit: int) -> Iterator[list[Feed]]:
    """Pack feeds into passes of at most `limit` tokens; a feed may be split over several."""
    part: list[Feed] = []
    room = limit
    for feed in feeds:
        rest: Feed | None = feed
        while rest:
            if not room:
                yield part
                part, room = [], limit
            piece, rest = rest.split(room)
            part.append(piece)
            room -= len(piece.embedded)
    if part:
        yield part
