"""Logits of a stream, and those of transformers' own model for the same tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.engine.qwen2_5.vision import patch_grid, to_patches
from streamingvlm_ros.engine.sampler import RowSampler
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.types import Chunk


class Recording(RowSampler):
    """Samples as usual, and records the logits by the index of the token that they follow."""

    def __init__(self, stream: Stream) -> None:
        engine = stream.engine
        super().__init__(engine.runner.rows, engine.model.decoder.vocabulary, device=engine.device)
        self._stream = stream
        self.logits: dict[int, Tensor] = {}
        engine.runner.sampler = self

    def choose(self, logits: Tensor, rows: slice) -> Tensor:
        self.logits[self._stream.cached_tokens - 1] = logits[0].clone()
        return super().choose(logits, rows)


def full_forward(
    loaded: LoadedModel, stream: Stream, *, engine: StreamingEngine, chunks: Sequence[Chunk]
) -> Tensor:
    """Return (tokens, vocabulary) logits of the cached tokens by transformers' own model."""
    patches, grids = zip(
        *(to_patches([f.image for f in c.frames], stream.spec) for c in chunks),
        strict=True,
    )
    with torch.inference_mode():
        return loaded.model(
            input_ids=torch.tensor([stream.ledger.ids]),
            position_ids=engine.model.positions(stream.ledger)[:, None],
            pixel_values_videos=torch.cat(patches),
            video_grid_thw=torch.tensor([patch_grid(g, stream.spec) for g in grids]),
        ).logits[0]
