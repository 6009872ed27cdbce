"""Streams that let go of the past in other ways, to be compared with the engine's own.

Each differs in one thing from `Stream`, which every other part of them is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from streamingvlm_ros.engine.ledger import Kind, Ledger, Segment
from streamingvlm_ros.engine.qwen2_5.positions import positions
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.engine.window import Eviction
from streamingvlm_ros.types import Chunk


class GrowingStream(Stream):
    """Every token keeps the position that it came with; the next one's is always higher.

    The paper calls such positions native. Questions take contiguous ones: don't ask it.
    """

    def reset(self) -> None:
        """Begin anew, at position 0. `held` are (3, tokens) positions of what is in the cache."""
        super().reset()
        self.held = torch.empty(3, 0)

    def _keep(self, eviction: Eviction) -> None:
        self.held = self.held[:, eviction.slots]
        super()._keep(eviction)

    def _places(self, ledger: Ledger, start: int) -> Tensor:
        new = Ledger(tuple(_after(ledger, self.held.shape[1])))
        fed = positions(new, self._engine.tokens_per_second, self._next)
        self.held = torch.cat([self.held, fed], dim=1)
        return self.held[:, start:]

    def _finish_round(self, ids: list[int]) -> None:
        super()._finish_round(ids)
        said = torch.arange(self._cache.length - self.held.shape[1]).expand(3, -1)
        self.held = torch.cat([self.held, said + self._next], dim=1)

    @property
    def _next(self) -> float:
        return float(self.held.max()) + 1.0 if self.held.numel() else 0.0


class RecomputingStream(Stream):
    """A sliding window: what is in it goes through the decoder anew in every round.

    Frames are encoded once, which is kinder to it than the published code's `--recompute`.
    """

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self._looks: list[Tensor] = []

    def _keep(self, eviction: Eviction) -> None:
        self._cache.truncate(0)

    def _feed(self, segments: Sequence[Segment], seen: Tensor | None = None) -> Tensor:
        assert seen is not None
        self._looks = [*self._looks, seen][-self._engine.settings.window.vision_rounds :]
        return super()._feed(segments, torch.cat(self._looks))


class GlancingStream(Stream):
    """Frames leave as soon as they were read, before a word is said about them."""

    def _watch(self, chunk: Chunk) -> Tensor:
        logits = super()._watch(chunk)
        kept = [(s, slots) for s, slots in _slots(self.ledger) if s.kind is not Kind.VISION]
        ledger = Ledger(tuple(segment for segment, _ in kept))
        self._keep(Eviction(ledger, [slot for _, slots in kept for slot in slots]))
        self._position.fill_(float(self._places(ledger, 0).max()))
        self._state = replace(self._state, ledger=ledger)
        return logits


def _after(ledger: Ledger, start: int) -> list[Segment]:
    """The segments from token number `start` on, which begins one of them."""
    return [segment for segment, slots in _slots(ledger) if slots.start >= start]


def _slots(ledger: Ledger) -> list[tuple[Segment, range]]:
    """Every segment and the slots that it lies in."""
    found: list[tuple[Segment, range]] = []
    for segment in ledger:
        start = found[-1][1].stop if found else 0
        found.append((segment, range(start, start + len(segment))))
    return found
