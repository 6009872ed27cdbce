"""Sampling of frames and cutting into chunks: a function of stamps alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from ..config import FrameConfig
from ..types import NS_PER_S

T = TypeVar("T")


class SampleResult(Enum):
    """Result of sampling a frame."""

    SAMPLED = "sampled"
    """It is part of a chunk."""
    UNUSED = "unused"
    """Its slot has a frame already, or its chunk is closed: the camera is faster than `fps`."""
    LATE = "late"
    """It is older than a frame before it."""


@dataclass(frozen=True, slots=True)
class RawChunk(Generic[T]):
    """A chunk whose pictures need not be decoded yet: stamps in ns, each with its payload.

    `frames` is never empty and ordered by stamp.
    """

    frames: tuple[tuple[int, T], ...]
    start_ns: int
    end_ns: int


class Chunker(Generic[T]):
    """Cuts a camera's frames into chunks of at most `fps * chunk_seconds` frames.

    Chunks begin at whole multiples of `chunk_seconds` in the sensor's time, so a recording is cut
    the same way wherever its replay begins. A chunk has evenly spaced slots, and the first frame in
    each is taken. It is complete when its last slot is taken, or when a frame of a later chunk
    comes. The chunk in which a camera is first seen is left out unless its first slot is taken.
    """

    def __init__(self, config: FrameConfig) -> None:
        self._chunk_ns = round(config.chunk_seconds * NS_PER_S)
        self._slots = config.frames_per_chunk
        self._open: list[tuple[int, T]] = []
        self._newest_ns: int | None = None
        # Slots are numbered from time 0: chunk c has those from c * _slots on.
        self._next_slot: int | None = None

    @property
    def open_chunk(self) -> RawChunk[T] | None:
        """The chunk that is not complete yet, with its frames so far; None if it has no frame."""
        if not self._open:
            return None
        start_ns = self._open[0][0] // self._chunk_ns * self._chunk_ns
        return RawChunk(tuple(self._open), start_ns, start_ns + self._chunk_ns)

    def jumped_back(self, stamp_ns: int) -> bool:
        """Return True for a stamp a chunk or more behind the newest: the clock was set back."""
        return self._newest_ns is not None and self._newest_ns - stamp_ns >= self._chunk_ns

    def wants(self, stamp_ns: int) -> SampleResult:
        """Return how the next frame, which has this stamp, is used.

        If it is SAMPLED, it is still to be given to `offer` or `skip`; otherwise nothing remains to
        be done.
        """
        if self._newest_ns is not None and stamp_ns < self._newest_ns:
            return SampleResult.LATE
        self._newest_ns = stamp_ns
        slot = self._slot(stamp_ns)
        if self._next_slot is None:
            self._next_slot = -(-slot // self._slots) * self._slots
        return SampleResult.UNUSED if slot < self._next_slot else SampleResult.SAMPLED

    def offer(self, stamp_ns: int, payload: T) -> tuple[SampleResult, list[RawChunk[T]]]:
        """Add the next frame; return how it was used, and the chunks it completes (0 to 2)."""
        return self._take_slot(stamp_ns, [(stamp_ns, payload)])

    def skip(self, stamp_ns: int) -> tuple[SampleResult, list[RawChunk[T]]]:
        """Take the slot of the next frame, which can't be used; return the same as `offer`."""
        return self._take_slot(stamp_ns, [])

    def close(self) -> list[RawChunk[T]]:
        """Close the open chunk; return it in a list, which is empty without frames."""
        chunk = self.open_chunk
        if chunk is None or self._next_slot is None:
            return []
        self._open = []
        self._next_slot = -(-self._next_slot // self._slots) * self._slots
        return [chunk]

    def _slot(self, stamp_ns: int) -> int:
        return stamp_ns * self._slots // self._chunk_ns

    def _take_slot(
        self, stamp_ns: int, frames: list[tuple[int, T]]
    ) -> tuple[SampleResult, list[RawChunk[T]]]:
        result = self.wants(stamp_ns)
        if result is not SampleResult.SAMPLED:
            return result, []
        chunk = self.open_chunk
        done = self.close() if chunk and stamp_ns >= chunk.end_ns else []
        self._open += frames
        self._next_slot = self._slot(stamp_ns) + 1
        if self._next_slot % self._slots == 0:
            done += self.close()
        return result, done
