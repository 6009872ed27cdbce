"""Until the first eviction, streaming equals one full forward of transformers' own model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel

from .conftest import chunk_of
from .full_forward import Recording, full_forward


@pytest.mark.parametrize(
    ("fps", "frames"), [(2.0, 2), (1.0, 1), (5.0, 5), (8.0, 8), (30.0, 30), (8.0, 3)]
)
def test_streaming_equals_a_full_forward_before_the_first_eviction(
    loaded: LoadedModel, make_engine: Callable[..., StreamingEngine], fps: float, frames: int
) -> None:
    engine = make_engine(fps=fps, vision_rounds=8, text_rounds=8)
    stream = engine.open_stream()
    recording = Recording(stream)
    chunks = [chunk_of(i, frames, fps=fps) for i in range(4)]
    for chunk in chunks:
        stream.step(chunk)

    full = full_forward(loaded, stream, engine=engine, chunks=chunks)
    assert len(recording.logits) >= len(chunks)
    for place, logits in recording.logits.items():
        assert (full[place] - logits).abs().max() < 1e-4
