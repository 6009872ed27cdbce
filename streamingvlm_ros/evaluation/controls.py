"""Controls: changed frames, which show how much of a score depends on the video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np

from ..session import Event
from ..types import Chunk, Image
from .results import ORIGINAL

_BLOCK_CHUNKS = 60
"""Number of chunks shuffled together: all images of a long recording don't fit into memory."""

Control = Callable[[Iterable[Event]], Iterator[Event]]


def original(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the events unchanged."""
    yield from events


def no_frames(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the same chunks with plain grey images."""
    for event in events:
        if isinstance(event, Chunk):
            yield _with_images(event, [np.full_like(event.frames[0].image, 128)])
        else:
            yield event


def shuffled_frames(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the same chunks, each with the images of another chunk nearby, if there is one."""
    random, block, previous = np.random.default_rng(0), list[Chunk](), list[Chunk]()
    for event in events:
        if isinstance(event, Chunk):
            block.append(event)
        if block and (len(block) == _BLOCK_CHUNKS or not isinstance(event, Chunk)):
            yield from _shuffled(block, previous, random=random)
            block, previous = [], block[-1:]
        if not isinstance(event, Chunk):
            yield event
    yield from _shuffled(block, previous, random=random)


CONTROLS: dict[str, Control] = {
    ORIGINAL: original,
    "no frames": no_frames,
    "shuffled frames": shuffled_frames,
}


def _shuffled(
    block: list[Chunk], previous: list[Chunk], *, random: np.random.Generator
) -> Iterator[Chunk]:
    """Yield each chunk with the images of the next one in a random ring: never with its own.

    A block of one chunk takes the images of the `previous` chunk.
    """
    ring = random.permutation(len(block))
    successor = np.empty_like(ring)
    successor[ring] = np.roll(ring, 1)
    others = previous if previous and len(block) == 1 else [block[number] for number in successor]
    for chunk, other in zip(block, others, strict=True):
        yield _with_images(chunk, [frame.image for frame in other.frames])


def _with_images(chunk: Chunk, images: Sequence[Image]) -> Chunk:
    """Return a chunk with the same stamps; images repeat where there are fewer than frames."""
    frames = zip(chunk.frames, cycle(images), strict=False)
    return replace(chunk, frames=tuple(replace(frame, image=image) for frame, image in frames))
