"""Answers that grow side by side on one stream's cache, none of them seen by the others.

Every branch is written behind what the stream holds, and a mask says which slots a token sees:
its own branch's, and the stream's. One pass through the layers serves all of them, nothing is
copied, and leaving is one assignment: the cache's length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..config import SamplingConfig
from ..types import Ask
from .detokenizer import IncrementalDetokenizer
from .kv_cache import KVCache
from .ledger import Ledger
from .question_prompts import Prompt
from .qwen2_5.positions import positions
from .sampler import Sampler

if TYPE_CHECKING:
    from .engine import StreamingEngine


class Branch:
    """One answer in the making."""

    def __init__(
        self, ask: Ask, prompt: Prompt, sampler: Sampler, speech: IncrementalDetokenizer
    ) -> None:
        self.ask, self.prompt = ask, prompt
        self.ids: list[int] = []
        self.complete = False
        self._sampler, self._speech = sampler, speech

    def grow(self, logits: Tensor, sampling: SamplingConfig, stop_ids: frozenset[int]) -> str:
        """Choose the next token; what can be heard of it."""
        id = int(self._sampler.choose(logits, sampling))
        self.complete = id in stop_ids
        if self.complete:
            return self._speech.end()
        self.ids.append(id)
        piece = self._speech.add(id)
        return piece + self._speech.end() if self.full else piece

    @property
    def full(self) -> bool:
        """No further token may be said."""
        return len(self.ids) >= self.prompt.max_tokens


class Branches:
    """The branches of one batch; they share what was in the cache when this was made."""

    def __init__(
        self, engine: StreamingEngine, cache: KVCache, ledger: Ledger, sampling: SamplingConfig
    ) -> None:
        self._engine, self._cache, self._ledger = engine, cache, ledger
        self._sampling = sampling

    def decode(self, batch: Sequence[tuple[Ask, Prompt]]) -> Iterator[Branch]:
        """Every branch when it has ended, the shortest answers first.

        Who asked hears each piece, and says whether to go on. The caller truncates the cache
        afterwards.
        """
        branches = [self._open(ask, prompt) for ask, prompt in batch]
        logits = self._prefill(branches)
        while branches:
            growing = []
            for branch, row in zip(branches, logits, strict=True):
                piece = branch.grow(row, self._sampling, self._engine.stop_ids)
                wanted = branch.ask.heard(piece)
                branch.complete &= wanted
                if branch.complete or branch.full or not wanted:
                    yield branch
                else:
                    growing.append(branch)
            self._keep([branch in growing for branch in branches])
            branches = growing
            if branches:
                logits = self._advance([branch.ids[-1] for branch in branches])

    def _open(self, ask: Ask, prompt: Prompt) -> Branch:
        engine = self._engine
        sampler = Sampler(engine.decoder.vocabulary, self._sampling.seed, engine.decoder.device)
        sampler.begin([*(self._ledger.ids if prompt.on_stream else ()), *prompt.ids])
        return Branch(ask, prompt, sampler, IncrementalDetokenizer(engine.chat_format))

    def _prefill(self, branches: Sequence[Branch]) -> Tensor:
        """Feed every prompt in one pass; logits (branches, vocabulary)."""
        decoder, shared = self._engine.decoder, self._cache.length
        places = [self._places(branch.prompt) for branch in branches]
        lengths = torch.tensor([place.shape[1] for place in places], device=decoder.device)
        owner = torch.repeat_interleave(torch.arange(len(branches), device=decoder.device), lengths)
        on_stream = torch.tensor([b.prompt.on_stream for b in branches], device=decoder.device)
        self._visible = torch.zeros(
            len(branches), self._cache.capacity, dtype=torch.bool, device=decoder.device
        )
        self._visible[:, :shared] = on_stream[:, None]
        self._visible[owner, shared + torch.arange(len(owner), device=decoder.device)] = True
        self._position = torch.stack([place.max() for place in places])
        # A token sees its branch's slots, but none that is written after its own.
        mask = self._visible[owner, : shared + len(owner)]
        mask[:, shared:].tril_()
        embedded = torch.cat([self._embedded(branch.prompt) for branch in branches])
        return decoder.extend(
            embedded, torch.cat(places, dim=1), mask, self._cache, lengths.cumsum(0) - 1
        )

    def _embedded(self, prompt: Prompt) -> Tensor:
        spec = self._engine.question_spec
        seen = [self._engine.look(frames, spec)[0] for frames in prompt.frames]
        return self._engine.embed(prompt.ids, torch.cat(seen) if seen else None)

    def _advance(self, ids: Sequence[int]) -> Tensor:
        """One token further in every branch; logits (branches, vocabulary)."""
        decoder, start = self._engine.decoder, self._cache.length
        rows = torch.arange(len(ids), device=decoder.device)
        self._visible[rows, start + rows] = True
        self._position += 1.0
        embedded = self._engine.embed(ids)
        mask = self._visible[:, : start + len(ids)]
        return decoder.extend(embedded, self._position.expand(3, -1), mask, self._cache, rows)

    def _keep(self, growing: Sequence[bool]) -> None:
        """Forget the rows of branches that have ended."""
        if not all(growing):
            rows = torch.tensor(growing, device=self._visible.device)
            self._visible, self._position = self._visible[rows], self._position[rows]

    def _places(self, prompt: Prompt) -> Tensor:
        """(3, tokens) positions: after the stream, or those of a fresh sequence."""
        segments = [*(self._ledger if prompt.on_stream else ()), *prompt.segments]
        fresh = positions(segments, self._engine.tokens_per_second)
        start = len(self._ledger) if prompt.on_stream else 0
        return fresh[:, start:].to(self._engine.decoder.device)
