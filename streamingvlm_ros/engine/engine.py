"""The engine: one set of weights, any number of streams."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from ..config import Settings
from ..types import Chunk
from .decoder import Decoder
from .dialogue import Dialogue
from .ledger import Grid
from .model import LoadedModel, load
from .stream import Stream
from .vision import VisionSpec, patch_grid, to_patches
from .window import token_bound

LATEST_S = 9_999_999_999.9
"""The longest time that a round's turn has room for: a clock may jump by decades."""


class StreamingEngine:
    """Weights and what follows from them. Not thread-safe: one thread owns it and its streams."""

    def __init__(self, loaded: LoadedModel, settings: Settings) -> None:
        self.settings = settings
        self.complete = loaded.complete
        self.dialogue = Dialogue(loaded.tokenizer)
        self.stop_ids = loaded.stop_ids | {self.dialogue.end_id}
        self.decoder = Decoder(loaded.model)
        vision = loaded.model.config.vision_config
        self.tokens_per_second = float(vision.tokens_per_second)
        self.vision_spec = VisionSpec.of(vision, settings.model)
        self._tower = loaded.model.model.visual

    @classmethod
    def from_pretrained(cls, checkpoint: Path | str, settings: Settings) -> StreamingEngine:
        """Load a checkpoint's folder or hub id (see `model.resolve`). ModelError if it can't."""
        return cls(load(checkpoint, settings.model), settings)

    def open_stream(self) -> Stream:
        """A new stream: its own cache and random numbers, this engine's weights."""
        return Stream(self)

    @property
    def grid_seconds(self) -> float:
        """Time between two temporal steps of a round's vision tokens."""
        return self.vision_spec.temporal_patch / self.settings.frames.fps

    @property
    def vision_tokens_per_round(self) -> int:
        """Most vision tokens of one round."""
        frames = self.settings.frames.frames_per_chunk
        steps = math.ceil(frames / self.vision_spec.temporal_patch)
        return steps * self.vision_spec.max_tokens

    def capacity(self) -> int:
        """Slots that a stream needs: its full window and a question beside it."""
        settings, dialogue = self.settings, self.dialogue
        prompt = settings.prompt
        user = sum(map(len, dialogue.user_turn(0, LATEST_S, LATEST_S)))
        bound = token_bound(
            settings.window,
            fixed=sum(map(len, dialogue.opening())) + len(dialogue.encode(prompt.instruction)),
            vision=self.vision_tokens_per_round + 2,
            user=user,
            assistant=settings.sampling.max_new_tokens + len(dialogue.closing(0)),
        )
        asking = settings.asking
        return bound + user + asking.max_question_tokens + asking.max_answer_tokens

    def see(self, chunk: Chunk) -> tuple[Tensor, Grid]:
        """Vision tokens (tokens, hidden) of a chunk's frames, and their grid."""
        images = [frame.image for frame in chunk.frames]
        patches, grid = to_patches(images, self.vision_spec, self.decoder.device)
        shape = torch.tensor([patch_grid(grid, self.vision_spec)], device=self.decoder.device)
        seen = self._tower(patches.to(self.decoder.dtype), grid_thw=shape)
        return seen.pooler_output, grid
