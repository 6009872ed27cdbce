"""Which frames are given to the model, and which chunk each belongs to: a function of stamps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from ..config import FrameConfig
from ..types import NS_PER_S

T = TypeVar("T")


class Verdict(Enum):
    """What became of a frame that was offered."""

    SAMPLED = "sampled"
    """It is part of a chunk."""
    UNUSED = "unused"
    """Its slot has a frame already, or its chunk is closed: a camera is faster than `fps`."""
    LATE = "late"
    """Older than a frame before it."""


@dataclass(frozen=True, slots=True)
class RawChunk(Generic[T]):
    """A chunk whose pictures need not be decoded yet: stamps in ns, each with its payload.

    `frames` is never empty and ordered by stamp; `dropped` is as in `types.Chunk`.
    """

    frames: tuple[tuple[int, T], ...]
    start_ns: int
    end_ns: int
    dropped: int = 0


class Sampler(Generic[T]):
    """Cuts a camera's frames into chunks of at most `fps * chunk_seconds` frames.

    Chunks begin at whole multiples of `chunk_seconds` in the sensor's time, so a recording is cut
    alike wherever its replay begins. A chunk has evenly spaced slots, and the first frame in each
    is taken. It is complete when its last slot has a frame, or when a frame of a later chunk
    comes. The chunk in which a camera is first seen is left out unless its first slot is filled.
    """

    def __init__(self, config: FrameConfig) -> None:
        self._chunk_ns = round(config.chunk_seconds * NS_PER_S)
        self._slots = config.frames_per_chunk
        self._open: list[tuple[int, T]] = []
        self._newest_ns: int | None = None
        # Slots are numbered through from time 0: chunk c has those from c * _slots on.
        self._next_slot: int | None = None

    @property
    def open_frames(self) -> int:
        """Frames in the chunk that is not complete yet."""
        return len(self._open)

    @property
    def open_until_ns(self) -> int | None:
        """Where the chunk that is not complete yet ends; None if it has no frame."""
        return self._chunk_of(self._open[0][0])[1] if self._open else None

    def jumped_back(self, stamp_ns: int) -> bool:
        """True for a stamp a chunk or more behind the newest: the clock was set back."""
        return self._newest_ns is not None and self._newest_ns - stamp_ns >= self._chunk_ns

    def offer(self, stamp_ns: int, payload: T) -> tuple[Verdict, list[RawChunk[T]]]:
        """Offer the next frame; what became of it, and the chunks that it completes (0 to 2)."""
        if self._newest_ns is not None and stamp_ns < self._newest_ns:
            return Verdict.LATE, []
        self._newest_ns = stamp_ns
        slot = stamp_ns * self._slots // self._chunk_ns
        if self._next_slot is None:
            self._next_slot = -(-slot // self._slots) * self._slots
        if slot < self._next_slot:
            return Verdict.UNUSED, []
        end_ns = self.open_until_ns
        done = self.close() if end_ns is not None and stamp_ns >= end_ns else []
        self._open.append((stamp_ns, payload))
        self._next_slot = slot + 1
        if self._next_slot % self._slots == 0:
            done += self.close()
        return Verdict.SAMPLED, done

    def close(self) -> list[RawChunk[T]]:
        """End the open chunk with the frames it has: a list of one, or empty without frames."""
        if not self._open or self._next_slot is None:
            return []
        start_ns, end_ns = self._chunk_of(self._open[0][0])
        chunk = RawChunk(tuple(self._open), start_ns, end_ns)
        self._open = []
        self._next_slot = -(-self._next_slot // self._slots) * self._slots
        return [chunk]

    def _chunk_of(self, stamp_ns: int) -> tuple[int, int]:
        start_ns = stamp_ns // self._chunk_ns * self._chunk_ns
        return start_ns, start_ns + self._chunk_ns
