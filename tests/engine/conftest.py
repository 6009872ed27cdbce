"""A tiny random checkpoint, its engine, and chunks of noise to feed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from streamingvlm_ros.config import SamplingConfig, Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel, load
from streamingvlm_ros.engine.sampler import RowSampler
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame

CHECKPOINT = Path(__file__).parent.parent / "data" / "parity" / "checkpoint"

CPU = torch.device("cpu")

SMALL: dict[str, Any] = {
    "vision_rounds": 4,
    "text_rounds": 4,
    "text_sink": 12,
    "text_window": 16,
    "min_frame_tokens": 1,
    "max_frame_tokens": 6,
    "temperature": 0.0,
    "max_new_tokens": 6,
    "max_answer_tokens": 16,
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use one thread: the checkpoint is so small that a second one only costs time."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def loaded() -> LoadedModel:
    return load(CHECKPOINT, Settings().model)


@pytest.fixture(scope="session")
def make_engine(loaded: LoadedModel) -> Callable[..., StreamingEngine]:
    """Return a factory of engines on the shared weights, with some settings changed."""

    def make(*, max_streams: int = 6, **changes: Any) -> StreamingEngine:
        settings = Settings().updated(SMALL | changes)
        return StreamingEngine(loaded, settings, max_streams=max_streams)

    return make


def arenas_of(engine: StreamingEngine) -> list[torch.Tensor]:
    """Return the cache's three arenas."""
    cache = engine.runner.cache
    return [cache.keys, cache.values, cache.unrotated_keys]


def cached(stream: Stream) -> list[torch.Tensor]:
    """Return a stream's cache: keys, values, unrotated keys."""
    place = stream.engine.runner.place(stream.row)
    return [arena[:, :, place.start : place.end] for arena in arenas_of(stream.engine)]


class Chatty(RowSampler):
    """A sampler that never chooses a stop token."""

    def choose(self, logits: Tensor, rows: slice) -> Tensor:
        return torch.full((len(logits),), 100)


def support(config: SamplingConfig, scores: Tensor, *, context: Sequence[int] = ()) -> Tensor:
    """Return an (ids,) mask of those that can be chosen: the noise of row n favours only id n."""
    vocabulary = len(scores)
    sampler = RowSampler(vocabulary, vocabulary, device=CPU)
    for row in range(vocabulary):
        sampler.open(row, config, context=context, seed=0)
    sampler._noise.fill_diagonal_(1e-38)
    ids = sampler.choose(scores.expand(vocabulary, -1), slice(0, vocabulary))
    return ids == torch.arange(vocabulary)


def chunk_of(
    round: int,
    frames: int = 2,
    *,
    fps: float = 2.0,
    seed: int = 0,
    size: tuple[int, int] = (56, 84),
) -> Chunk:
    """Return a second of noise, always the same for the same round and seed."""
    random = np.random.default_rng([seed, round])
    images = random.integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    start = round * NS_PER_S
    pictures = tuple(
        Frame(image, start + int(i * NS_PER_S / fps)) for i, image in enumerate(images)
    )
    return Chunk(pictures, start, start + NS_PER_S)
