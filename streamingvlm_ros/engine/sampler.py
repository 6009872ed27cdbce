"""How the next token is chosen from the logits."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..config import SamplingConfig

GREEDY_BELOW = 1e-4
"""Dividing by less than this overflows, and would choose the likeliest token anyway."""


class Sampler:
    """Random state of one stream and the ids in its context.

    The order is that of transformers' generate: repetition penalty, temperature, top-k, top-p.
    """

    def __init__(self, vocabulary: int, seed: int, device: torch.device) -> None:
        self._in_context = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        self.random = torch.Generator(device=device).manual_seed(seed)

    def begin(self, context: Iterable[int]) -> None:
        """Start a turn: these ids are in the context."""
        ids = torch.tensor(sorted(set(context)), device=self._in_context.device)
        self._in_context.zero_()
        self._in_context[ids] = True

    def choose(self, logits: Tensor, config: SamplingConfig) -> Tensor:
        """The next id, (1,), from (vocabulary,) logits. It joins the context."""
        scores = _penalised(logits.float(), self._in_context, config.repetition_penalty)
        if config.temperature < GREEDY_BELOW:
            token = scores.argmax(keepdim=True)
        else:
            scores = _most_likely(scores / config.temperature, config.top_k, config.top_p)
            token = torch.multinomial(scores.softmax(-1), 1, generator=self.random)
        self._in_context.index_fill_(0, token, True)
        return token


def _penalised(scores: Tensor, in_context: Tensor, penalty: float) -> Tensor:
    """Divide the positive scores of ids in the context by the penalty, multiply the others."""
    lowered = torch.where(scores > 0, scores / penalty, scores * penalty)
    return torch.where(in_context, lowered, scores)


def _most_likely(scores: Tensor, top_k: int, top_p: float) -> Tensor:
    """Scores with -inf for whatever is not among the likeliest. 0 switches either limit off."""
    if 0 < top_k < len(scores):
        smallest = scores.topk(top_k).values[-1]
        scores = scores.masked_fill(scores < smallest, -torch.inf)
    if 0.0 < top_p < 1.0:
        ordered, order = scores.sort(descending=True)
        likelihood = ordered.softmax(-1)
        beyond = likelihood.cumsum(-1) - likelihood >= top_p
        scores = scores.masked_fill(beyond.scatter(0, order, beyond), -torch.inf)
    return scores
