"""Data that the other modules exchange. Times are sensor time in integer nanoseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import StreamingVLMError

Image = NDArray[np.uint8]
"""(height, width, 3) uint8 RGB."""

NS_PER_S = 1_000_000_000


class Stamp(Protocol):
    """builtin_interfaces/Time, of ROS or of a bag."""

    sec: int
    nanosec: int


def to_ns(stamp: Stamp) -> int:
    """Return a stamp in nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image and the time at which it was taken."""

    image: Image = field(repr=False)
    stamp_ns: int
    frame_id: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The frames of one round, from [start_ns, end_ns).

    `frames` is never empty and ordered by stamp. `dropped` counts sampled frames that were
    skipped since the previous chunk because the model was busy.
    """

    frames: tuple[Frame, ...]
    start_ns: int
    end_ns: int
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class ChunkPart:
    """Some frames of a chunk, passed on before the chunk is complete.

    The parts of one chunk have the same `start_ns` and `end_ns`, come in order, and share one
    frame size. All but the `last` have an even number of frames; the last may have none if the
    camera stopped. `dropped` is set in the first part and is as in `Chunk`.
    """

    frames: tuple[Frame, ...]
    start_ns: int
    end_ns: int
    last: bool = True
    dropped: int = 0

    @classmethod
    def whole(cls, chunk: Chunk) -> ChunkPart:
        """Return a complete chunk as a single part."""
        return cls(chunk.frames, chunk.start_ns, chunk.end_ns, dropped=chunk.dropped)


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """The oldest and the newest of the frames that an answer is based on.

    `frame_id` is that of the newest frame. Zero and empty if nothing has been seen.
    """

    from_ns: int = 0
    until_ns: int = 0
    frame_id: str = ""


@dataclass(frozen=True, slots=True)
class Narration:
    """Text for one chunk; empty if the model stayed silent."""

    text: str
    start_ns: int
    end_ns: int
    newest_ns: int
    frame_id: str = ""
    sequence: int = 0
    frames: int = 0
    dropped: int = 0
    tokens: int = 0

    @property
    def silent(self) -> bool:
        """True if the model chose to stay silent."""
        return not self.text


class AnswerMode(str, Enum):
    """Source of an answer; the value is the name that users type."""

    STREAM = "stream"
    """The stream's context."""
    RECENT = "recent"
    """Only the newest frames."""
    HISTORY = "history"
    """Only moments from the history on disk."""


@dataclass(frozen=True, slots=True)
class HistoryMoment:
    """A past frame, with the narration of its round [start_ns, end_ns)."""

    frame: Frame
    start_ns: int
    end_ns: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a stream's context or, if set, only about `frames` or `moments`.

    `max_tokens` bounds the answer; None leaves it to the settings. With `remember`, question and
    answer become part of the stream's context.
    """

    text: str
    max_tokens: int | None = None
    remember: bool = False
    frames: tuple[Frame, ...] = ()
    moments: tuple[HistoryMoment, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to a question, and the span of the frames that it is based on.

    `complete` is false if it was truncated, by its maximum number of tokens or by its listener.
    """

    text: str
    seen_from_ns: int
    seen_until_ns: int
    tokens: int = 0
    complete: bool = True


def _always(_: object) -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Ask:
    """A question and the callbacks that receive its answer.

    `on_start` is called with the frames that the answer is based on, before the first token;
    `on_token` with each token's piece of text, which may be empty. Each returns True to continue.
    `on_done` is called at the end. All are called from the thread that answers; none may call the
    engine or its streams.
    """

    question: Question
    on_done: Callable[[Answer | StreamingVLMError], None]
    on_token: Callable[[str], bool] = _always
    on_start: Callable[[FrameSpan], bool] = _always
