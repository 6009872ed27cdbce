"""While nothing has left the cache, streaming is one full forward of transformers' own model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.qwen2_5.checkpoint import LoadedModel
from streamingvlm_ros.engine.qwen2_5.vision import patch_grid, to_patches
from streamingvlm_ros.engine.sampler import RowSampler
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.types import Chunk

from .conftest import chunk_of


class Recording(RowSampler):
    """Samples as always, and keeps the logits by the place of the token they follow."""

    def __init__(self, stream: Stream) -> None:
        engine = stream.engine
        super().__init__(engine.runner.rows, engine.model.decoder.vocabulary, engine.device)
        self._stream = stream
        self.logits: dict[int, Tensor] = {}
        engine.runner.sampler = self

    def choose(self, logits: Tensor, rows: slice) -> Tensor:
        self.logits[self._stream.cached_tokens - 1] = logits[0].clone()
        return super().choose(logits, rows)


def full_forward(
    loaded: LoadedModel, stream: Stream, engine: StreamingEngine, chunks: Sequence[Chunk]
) -> Tensor:
    """(tokens, vocabulary) logits of all that is in the cache, by transformers' own model."""
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


@pytest.mark.parametrize(
    ("fps", "frames"), [(2.0, 2), (1.0, 1), (5.0, 5), (8.0, 8), (30.0, 30), (8.0, 3)]
)
def test_streaming_equals_a_full_forward_before_the_first_eviction(
    loaded: LoadedModel, make_engine: Callable[..., StreamingEngine], fps: float, frames: int
) -> None:
    engine = make_engine(fps=fps, vision_rounds=8, text_rounds=8)
    stream = engine.open_stream()
    recording = Recording(stream)
    chunks = [chunk_of(i, frames, fps) for i in range(4)]
    for chunk in chunks:
        stream.step(chunk)

    full = full_forward(loaded, stream, engine, chunks)
    assert len(recording.logits) >= len(chunks)
    for place, logits in recording.logits.items():
        assert (full[place] - logits).abs().max() < 1e-4
