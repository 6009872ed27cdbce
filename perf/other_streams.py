"""Streams that evict the past differently, for comparison with the engine's own.

Each differs from `Stream` in one respect. Each takes only whole chunks, and no question may be open
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.ledger import Grid, Kind, Ledger, Segment
from streamingvlm_ros.engine.runner import Feed, Place
from streamingvlm_ros.engine.scheduler import Turn
from streamingvlm_ros.engine.stream import Round, Stream
from streamingvlm_ros.engine.window import Eviction
from streamingvlm_ros.types import Chunk, ChunkPart


class GrowingStream(Stream):
    """Every token keeps its first position; that of the next token is always higher.

    The paper calls such positions native. Questions take contiguous ones: don't ask it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.token_positions = torch.empty(3, 0)
        """Positions (3, tokens) of the tokens in the cache."""

    def forget(self) -> Turn | None:
        """Clear the context and start at position 0."""
        self.token_positions = torch.empty(3, 0)
        return super().forget()

    def _move(self, eviction: Eviction) -> None:
        self.token_positions = self.token_positions[:, eviction.slots]
        super()._move(eviction)

    def _positions(self, ledger: Ledger, start: int) -> Tensor:
        new = [s for s, slots in _slots(ledger) if slots.start >= self.token_positions.shape[1]]
        self._append(self._model.positions(new, start=self._next))
        return self.token_positions[:, start:]

    def _end_round(self, turn: Turn, chunk: Chunk) -> Round:
        narrated = torch.arange(self.cached_tokens - self.token_positions.shape[1])
        self._append(narrated.expand(3, -1) + self._next)
        return super()._end_round(turn, chunk)

    def _append(self, positions: Tensor) -> None:
        self.token_positions = torch.cat([self.token_positions, positions], dim=1)

    @property
    def _next(self) -> float:
        return float(self.token_positions.max()) + 1.0 if self.token_positions.numel() else 0.0


class RecomputingStream(Stream):
    """A sliding window whose content goes through the decoder again in every round.

    Frames are encoded once, which favours it over the published code's `--recompute`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._vision_tokens: list[Tensor] = []

    def forget(self) -> Turn | None:
        """Begin anew."""
        self._vision_tokens = []
        return super().forget()

    def _evict(self) -> None:
        super()._evict()
        start = self.next_region
        self._region = 1 - self._region
        self._runner.set_place(self.row, Place(start, start))

    def _move(self, eviction: Eviction) -> None:
        """Move nothing: the cache is empty after an eviction."""

    def see(self, part: ChunkPart, grid: Grid | None, *, seen: Tensor | None) -> Feed:
        """Add a chunk; the feed also holds all that remains of earlier ones."""
        assert seen is not None
        rounds = self.settings.window.vision_rounds
        self._vision_tokens = [*self._vision_tokens, seen][-rounds:]
        return super().see(part, grid, seen=torch.cat(self._vision_tokens))


class GlancingStream(Stream):
    """Frames leave as soon as they are read, before the narration about them."""

    def narrate(self, part: ChunkPart, on_end: Callable[[Round], None]) -> Turn:
        """Make the turn that narrates the round, without its frames."""
        remaining = [(s, slots) for s, slots in _slots(self.ledger) if s.kind is not Kind.VISION]
        ledger = Ledger(tuple(segment for segment, _ in remaining))
        self._move(Eviction(ledger, [slot for _, slots in remaining for slot in slots]))
        self._runner._position[self.row] = float(self._positions(ledger, 0).max()) + 1.0
        self._state = replace(self._state, ledger=ledger)
        return super().narrate(part, on_end)


class GrowingEngine(StreamingEngine):
    """Opens streams whose positions grow."""

    stream_type = GrowingStream


class RecomputingEngine(StreamingEngine):
    """Opens streams that recompute their window."""

    stream_type = RecomputingStream


class GlancingEngine(StreamingEngine):
    """Opens streams that only glance at frames."""

    stream_type = GlancingStream


def _slots(ledger: Ledger) -> list[tuple[Segment, range]]:
    """Yield every segment with its slots."""
    placed: list[tuple[Segment, range]] = []
    for segment in ledger:
        start = placed[-1][1].stop if placed else 0
        placed.append((segment, range(start, start + len(segment))))
    return placed
