"""The choice of each row's next token from its logits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import SamplingConfig

GREEDY_BELOW = 1e-4
"""Lower temperatures count as greedy: dividing by them would overflow."""


class ChoiceKey(NamedTuple):
    """The work that open rows need in `RowSampler.choose`. A captured graph fits one key."""

    sampled: bool = False
    max_k: int = 0
    """The largest top-k; 0 where no row has a limit."""
    top_p: bool = False


class RowSampler:
    """Chooses the next token of each decode row, on the device.

    The order is that of transformers' generate: repetition penalty, temperature, top-k, top-p. What
    a row chooses doesn't depend on the other rows.
    """

    def __init__(self, rows: int, vocabulary: int, *, device: torch.device) -> None:
        self.key = ChoiceKey()
        self._vocabulary = vocabulary
        self._device = device
        self._open: dict[int, SamplingConfig] = {}
        self._random: dict[int, torch.Generator] = {}
        self._in_context = torch.zeros(rows, vocabulary, dtype=torch.bool, device=device)
        self._noise = torch.ones(rows, vocabulary, device=device)
        self._penalty = torch.ones(rows, 1, device=device)
        self._temperature = torch.ones(rows, 1, device=device)
        self._greedy = torch.ones(rows, 1, dtype=torch.bool, device=device)
        self._top_k = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self._top_p = torch.ones(rows, 1, dtype=torch.double, device=device)

    def open(self, row: int, config: SamplingConfig, *, context: Iterable[int], seed: int) -> None:
        """Start a turn in a row, with the ids in its context. `config` must be complete."""
        greedy = _is_greedy(config)
        self._open[row] = config
        self._random[row] = torch.Generator(self._device).manual_seed(seed)
        self._penalty[row] = config.repetition_penalty
        self._temperature[row] = 1.0 if greedy else config.temperature
        self._greedy[row] = greedy
        self._top_k[row] = self._limit(config)
        self._top_p[row] = config.top_p if config.top_p < 1.0 else torch.inf
        pinned = self._device.type == "cuda"
        ids = torch.tensor(list(context), dtype=torch.long, pin_memory=pinned)
        self._in_context[row].zero_().index_fill_(0, ids.to(self._device, non_blocking=True), True)
        self._find_key()

    def close(self, row: int) -> None:
        """End a turn; its limits are no longer computed."""
        del self._open[row], self._random[row]
        self._greedy[row] = True
        self._top_k[row] = 0
        self._find_key()

    def draw(self, rows: slice | Sequence[int]) -> None:
        """Draw the noise of the next token, for the rows that are open and sampled.

        It is drawn outside of a captured graph, and as torch.multinomial draws it.
        """
        for row in range(len(self._noise))[rows] if isinstance(rows, slice) else rows:
            if row in self._open and not _is_greedy(self._open[row]):
                self._noise[row].exponential_(generator=self._random[row])

    def choose(self, logits: Tensor, rows: slice) -> Tensor:
        """Return the next ids, (rows,), from (rows, vocabulary) logits. They join the contexts.

        It can be captured in a CUDA graph: no value comes from the host or goes there.
        """
        in_context = self._in_context[rows]
        scores = _penalised(logits.float(), in_context, penalty=self._penalty[rows])
        ids = scores.argmax(-1, keepdim=True)
        if self.key.sampled:
            ids = torch.where(self._greedy[rows], ids, self._sampled(scores, rows))
        in_context.scatter_(1, ids, True)
        return ids.squeeze(1)

    def _sampled(self, scores: Tensor, rows: slice) -> Tensor:
        """Return ids, (rows, 1), as torch.multinomial would choose them with the drawn noise."""
        scores = scores / self._temperature[rows]
        if self.key.max_k:
            top_k = self._top_k[rows]
            allowed = self._likeliest(scores, top_k, top_p=self._top_p[rows]) | (top_k == 0)
            scores = scores.masked_fill(~allowed, -torch.inf)
        return (scores.softmax(-1) / self._noise[rows]).argmax(-1, keepdim=True)

    def _likeliest(self, scores: Tensor, top_k: Tensor, *, top_p: Tensor) -> Tensor:
        """Return a (rows, vocabulary) mask of ids within both limits; only for limited rows."""
        if self.key.max_k < self._vocabulary:
            ordered = scores.topk(self.key.max_k).values
        else:
            ordered = scores.sort(descending=True).values
        top_k = top_k.clamp(min=1)
        within = scores >= ordered.gather(1, top_k - 1)
        if self.key.top_p:
            return _within_top_p(scores, ordered, within=within, top_k=top_k, top_p=top_p)
        return within

    def _limit(self, config: SamplingConfig) -> int:
        """Return the number of likeliest tokens that must be sorted; 0 means none."""
        top_k = min(config.top_k or self._vocabulary, self._vocabulary)
        unlimited = top_k == self._vocabulary and config.top_p >= 1.0
        return 0 if unlimited or _is_greedy(config) else top_k

    def _find_key(self) -> None:
        sampled = [config for config in self._open.values() if not _is_greedy(config)]
        self.key = ChoiceKey(
            sampled=bool(sampled),
            max_k=max(map(self._limit, sampled), default=0),
            top_p=any(config.top_p < 1.0 for config in sampled),
        )


def _is_greedy(config: SamplingConfig) -> bool:
    return config.temperature < GREEDY_BELOW


def _penalised(scores: Tensor, in_context: Tensor, *, penalty: Tensor) -> Tensor:
    """Divide the positive scores of ids in the context by the penalty, multiply the others."""
    lowered = torch.where(scores > 0, scores / penalty, scores * penalty)
    return torch.where(in_context, lowered, scores)


def _within_top_p(
    scores: Tensor, ordered: Tensor, *, within: Tensor, top_k: Tensor, top_p: Tensor
) -> Tensor:
    """Return a (rows, vocabulary) mask of the likeliest ids with the total probability `top_p`.

    At least one is true in each row. Probabilities are those among the ids `within` top-k: the
    first `top_k` of the `ordered` scores, and those beyond that tie with the last of these. Of ids
    that tie at the limit of `top_p`, the lowest come first. Sums are in double precision, so that
    they don't depend on the width of `ordered`.
    """
    weights = (ordered.double() - ordered[:, :1]).exp()
    mass = weights.cumsum(-1)
    last, listed = weights.gather(1, top_k - 1), mass.gather(1, top_k - 1)
    ties = within.sum(-1, keepdim=True) - top_k
    wanted = top_p * (listed + ties * last)
    ranks = torch.arange(ordered.shape[1], device=ordered.device)
    count = ((mass - weights < wanted) & (ranks < top_k)).sum(-1, keepdim=True)
    tied = ((wanted - listed) / last).ceil().clamp(min=0).minimum(ties)
    count = (count + tied.long()).clamp(min=1)
    limit = ordered.gather(1, count.minimum(top_k) - 1)
    above, at_limit = scores > limit, scores == limit
    room = count - above.sum(-1, keepdim=True)
    return above | (at_limit & (at_limit.cumsum(-1) <= room))
