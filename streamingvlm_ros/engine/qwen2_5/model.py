"""The door to the model family: all that the engine asks of a loaded Qwen2.5-VL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ...config import FrameConfig, ModelConfig
from ...types import Frame
from ..chat_format import ChatFormat
from ..ledger import Grid, Segment
from .checkpoint import LoadedModel
from .decoder import Decoder
from .positions import positions
from .vision import VisionSpec, patch_grid, to_patches


class Model:
    """Text to ids, frames to vision tokens, positions, and the decoder. Holds no stream."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.complete = loaded.complete
        self.chat_format = ChatFormat(loaded.tokenizer)
        self.stop_ids = loaded.stop_ids | {self.chat_format.end_id}
        self.decoder = Decoder(loaded.model)
        self._vision_config = loaded.model.config.vision_config
        self._tower = loaded.model.model.visual
        self.tokens_per_second = float(self._vision_config.tokens_per_second)

    def frame_spec(self, config: ModelConfig) -> VisionSpec:
        """How frames become tokens under a budget of tokens."""
        return VisionSpec.of(self._vision_config, config)

    def grid_seconds(self, config: FrameConfig) -> float:
        """Time between two temporal steps of vision tokens."""
        return float(self._vision_config.temporal_patch_size) / config.fps

    def positions(self, segments: Iterable[Segment], start: float = 0.0) -> Tensor:
        """Return (3, tokens) float32 positions of a fresh sequence of segments, on the CPU."""
        return positions(segments, self.tokens_per_second, start)

    def encode(
        self, groups: Sequence[Sequence[Frame]], spec: VisionSpec
    ) -> list[tuple[Tensor, Grid]]:
        """Return vision tokens (tokens, hidden) and their grid, for each group of frames.

        The frames of a group have one size and belong together; an odd last one is doubled.
        """
        return [self._encode(frames, spec) for frames in groups]

    def _encode(self, frames: Sequence[Frame], spec: VisionSpec) -> tuple[Tensor, Grid]:
        images = [frame.image for frame in frames]
        patches, grid = to_patches(images, spec, self.decoder.device)
        shape = torch.tensor([patch_grid(grid, spec)], device=self.decoder.device)
        seen = self._tower(patches.to(self.decoder.dtype), grid_thw=shape)
        return seen.pooler_output, grid

    def embed(self, ids: Sequence[int], seen: Tensor | None = None) -> Tensor:
        """Return (tokens, hidden) embeddings of ids, with `seen` in the places of vision tokens."""
        embedded = self.decoder.embed(torch.tensor(ids, device=self.decoder.device))
        if seen is not None:
            pads = [place for place, id in enumerate(ids) if id == self.chat_format.pad_id]
            places = torch.tensor(pads, device=self.decoder.device)
            embedded = embedded.index_copy(0, places, seen.to(embedded.dtype))
        return embedded
