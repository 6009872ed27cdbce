"""Clips of one world, and a sampler that makes the engine narrate them."""

from __future__ import annotations

import torch
from torch import Tensor

from streamingvlm_ros.config import Settings
from streamingvlm_ros.demo.world import World
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.sampler import RowSampler
from streamingvlm_ros.types import NS_PER_S, Frame
from streamingvlm_training.samples import ClipRound, ClipSample

WORLD = World(3)


class ForcedSampler(RowSampler):
    """Chooses the tokens that it was constructed with, whatever the logits are."""

    def __init__(self, engine: StreamingEngine, ids: list[int]) -> None:
        super().__init__(engine.runner.rows, engine.model.decoder.vocabulary, device=engine.device)
        self._ids = iter(ids)
        engine.runner.sampler = self

    def choose(self, logits: Tensor, rows: slice) -> Tensor:
        return torch.tensor([next(self._ids)])


def world_frames(second: int) -> tuple[Frame, ...]:
    return tuple(
        Frame(WORLD.frame(second + part, 56, 56), int((second + part) * NS_PER_S))
        for part in (0.0, 0.5)
    )


def world_clip(start: int, end: int, *, settings: Settings) -> ClipSample:
    """Return seconds of the world as a clip, after all earlier captions."""
    rounds = (
        ClipRound(n, n + 1, tuple(frame.image for frame in world_frames(n)), WORLD.caption(n))
        for n in range(start, end)
    )
    past = tuple(map(WORLD.caption, range(start)))
    return ClipSample(tuple(rounds), past, "" if start else settings.prompt.instruction)
