"""What travels between the rooms. Times are sensor time in integer nanoseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import StreamingVLMError

Image = NDArray[np.uint8]
"""(height, width, 3) uint8 RGB."""

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture and the moment it was taken."""

    image: Image = field(repr=False)
    stamp_ns: int
    frame_id: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The frames of one round: what was seen in [start_ns, end_ns).

    `frames` is never empty and ordered by stamp. `dropped` counts the sampled frames that
    were skipped since the chunk before, because the model was busy.
    """

    frames: tuple[Frame, ...]
    start_ns: int
    end_ns: int
    dropped: int = 0

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest frame."""
        return self.frames[-1].stamp_ns


@dataclass(frozen=True, slots=True)
class Narration:
    """What the model said about one chunk. `text` is empty for a silent second."""

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
        """True when the model chose to say nothing."""
        return not self.text


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame of long ago, and what was said in [start_ns, end_ns) when it was seen."""

    frame: Frame
    start_ns: int
    end_ns: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """Asked of what a stream has in mind; or, if given, of `frames` alone or of `moments` alone.

    `max_tokens` bounds the answer; None leaves it to the settings. With `remember`, question and
    answer become part of what the stream has in mind.
    """

    text: str
    max_tokens: int | None = None
    remember: bool = False
    frames: tuple[Frame, ...] = ()
    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said to a question, and the frames it rests on.

    `complete` is false if it was cut off: by the most tokens it may have, or because nobody
    listened any more.
    """

    text: str
    seen_from_ns: int
    seen_until_ns: int
    tokens: int = 0
    complete: bool = True


def _listen(piece: str) -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Ask:
    """A question and who waits for its answer.

    `reply` is called at the end; if the model fails, perhaps once more, which then means nothing.
    `heard` is called before the first token and then with each, which may add no piece to the
    answer; it says whether to go on. Both are called from the thread that answers, and neither
    may touch its stream.
    """

    question: Question
    reply: Callable[[Answer | StreamingVLMError], None]
    heard: Callable[[str], bool] = _listen
