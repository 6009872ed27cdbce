"""What a model is shown instead, to know how much of a score needs the video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np

from ..session import Event
from ..types import Chunk, Image
from .result import ORIGINAL

_BLOCK = 60
"""Chunks among which pictures are exchanged. All of a long recording wouldn't fit into memory."""

Control = Callable[[Iterable[Event]], Iterator[Event]]


def seen(events: Iterable[Event]) -> Iterator[Event]:
    """The recording as it is."""
    yield from events


def no_frames(events: Iterable[Event]) -> Iterator[Event]:
    """The same chunks with nothing but grey in their pictures."""
    for event in events:
        if isinstance(event, Chunk):
            yield _with_pictures(event, [np.full_like(event.frames[0].image, 128)])
        else:
            yield event


def shuffled_frames(events: Iterable[Event]) -> Iterator[Event]:
    """The same chunks, each with the pictures of another one near it, if there is one."""
    random, block, before = np.random.default_rng(0), list[Chunk](), list[Chunk]()
    for event in events:
        if isinstance(event, Chunk):
            block.append(event)
        if block and (len(block) == _BLOCK or not isinstance(event, Chunk)):
            yield from _exchanged(block, before, random)
            block, before = [], block[-1:]
        if not isinstance(event, Chunk):
            yield event
    yield from _exchanged(block, before, random)


CONTROLS: dict[str, Control] = {
    ORIGINAL: seen,
    "no frames": no_frames,
    "shuffled frames": shuffled_frames,
}


def _exchanged(
    block: list[Chunk], before: list[Chunk], random: np.random.Generator
) -> Iterator[Chunk]:
    """Each chunk with the pictures of the next one in a random ring: never with its own.

    One that is alone has those of the one before it.
    """
    ring = random.permutation(len(block))
    other = np.empty_like(ring)
    other[ring] = np.roll(ring, 1)
    given = before if before and len(block) == 1 else [block[number] for number in other]
    for chunk, shown in zip(block, given, strict=True):
        yield _with_pictures(chunk, [frame.image for frame in shown.frames])


def _with_pictures(chunk: Chunk, images: Sequence[Image]) -> Chunk:
    """As many frames with the same stamps; images are used again where there are fewer."""
    frames = zip(chunk.frames, cycle(images), strict=False)
    return replace(chunk, frames=tuple(replace(frame, image=image) for frame, image in frames))
