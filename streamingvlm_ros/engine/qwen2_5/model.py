"""The door to the model family: all that the engine asks of a loaded Qwen2.5-VL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ...config import ModelConfig
from ...types import Frame
from ..attention import activate, choose_backend
from ..chat_format import ChatFormat
from ..ledger import Grid, Segment
from .checkpoint import LoadedModel
from .decoder import Decoder
from .positions import positions
from .vision import VisionSpec
from .vision_encoder import VisionEncoder


class Model:
    """Text to ids, frames to vision tokens, positions, and the decoder. Holds no stream."""

    def __init__(self, loaded: LoadedModel, config: ModelConfig) -> None:
        """Take over a checkpoint that was loaded.

        Raises:
            ConfigError: the attention that `config` names doesn't work here.
        """
        self.complete = loaded.complete
        self.chat_format = ChatFormat(loaded.tokenizer)
        self.stop_ids = loaded.stop_ids | {self.chat_format.end_id}
        self.decoder = Decoder(loaded.model)
        self.attention = choose_backend(config.attention, self.decoder.device, self.decoder.dtype)
        """The backend; see engine/attention.py."""
        activate(self.attention)
        self._config = loaded.model.config
        self._encoder = VisionEncoder(loaded.model.model.visual, self.attention)
        self._tokens_per_second = self.frame_spec(config).tokens_per_second

    def frame_spec(self, config: ModelConfig) -> VisionSpec:
        """Return how frames are cut into tokens, within the limits of `config`."""
        return VisionSpec.of(self._config, config)

    def positions(self, segments: Iterable[Segment], start: float = 0.0) -> Tensor:
        """Return (3, tokens) float32 positions of a fresh sequence of segments, on the CPU."""
        return positions(segments, self._tokens_per_second, start)

    def encode(
        self, groups: Sequence[Sequence[Frame]], spec: VisionSpec
    ) -> list[tuple[Tensor, Grid]]:
        """Return vision tokens (tokens, hidden) and their grid, for each group of frames.

        The frames of a group have one size and belong together; an odd last one is doubled.
        """
        return self._encoder.encode([[frame.image for frame in group] for group in groups], spec)

    def embed(self, ids: Sequence[int], seen: Tensor | None = None) -> Tensor:
        """Return (tokens, hidden) embeddings of ids, with `seen` in the places of vision tokens."""
        embedded = self.decoder.embed(torch.tensor(ids, device=self.decoder.device))
        if seen is not None:
            pads = [place for place, id in enumerate(ids) if id == self.chat_format.pad_id]
            places = torch.tensor(pads, device=self.decoder.device)
            embedded = embedded.index_copy(0, places, seen.to(embedded.dtype))
        return embedded
