"""What is wrong with a clip, found without a GPU and without decoding all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import StreamingVLMError
from streamingvlm_ros.recordings.recording import recording
from streamingvlm_ros.types import Chunk

from .record import ClipRecord


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to look at. A clip that is not `usable` is left out of the training."""

    origin: str
    what: str
    usable: bool


class Checker:
    """Checks clips for the frames that a model will see of them."""

    def __init__(self, frames: FrameConfig) -> None:
        self._frames = frames
        self._frame_s = 1 / frames.fps
        self._length = lru_cache(maxsize=None)(self._look)

    def problems(self, clip: ClipRecord) -> Iterator[Problem]:
        """What is wrong with it; nothing if nothing is."""
        length_s, why = self._length(clip.recording, clip.camera)
        if why:
            yield Problem(clip.origin, why, usable=False)
            return
        for what in self._words(clip):
            yield Problem(clip.origin, what, usable=True)
        # A round is there if its chunk has a frame at all, as in the live node.
        if length_s is not None and clip.end_s - self._frames.chunk_seconds > length_s:
            rounds = (length_s - clip.start_s) // self._frames.chunk_seconds
            what = f"ends at {clip.end_s:g} s, its images at {length_s:.2f} s: it would be cut"
            yield Problem(clip.origin, what, usable=rounds >= 2)
        elif clip.duration_s < 2 * self._frames.chunk_seconds:
            yield Problem(
                clip.origin, f"is {clip.duration_s:g} s long: no two rounds", usable=False
            )

    def _words(self, clip: ClipRecord) -> Iterator[str]:
        ends_s = [word.end_s for word in clip.words]
        if any(later < earlier for earlier, later in pairwise(ends_s)):
            yield "its words are out of order: they are sorted by their ends"
        early = min((word.start_s for word in clip.words), default=clip.start_s)
        if early < clip.start_s - self._frame_s:
            yield (
                f"a word begins at {early:g} s, {clip.start_s - early:.2f} s before the clip's "
                "images: labels and images may have different clocks"
            )
        chunk_s = self._frames.chunk_seconds
        rounds_end_s = clip.start_s + clip.duration_s // chunk_s * chunk_s
        late = [word.text for word in clip.words if word.end_s > rounds_end_s + 1e-6]
        if late:
            yield (
                f"{len(late)} words end after its last whole round, at {rounds_end_s:g} s, and are "
                f"not learnt: {' '.join(late[:5])}"
            )

    def _look(self, path: Path, camera: str | None) -> tuple[float | None, str]:
        """The length in seconds, if known, or why nothing of a recording can be used."""
        try:
            if path.is_file() and not path.stat().st_size:
                return None, f"{path} is empty (0 bytes)"
            with recording(path, camera, self._frames) as recorded:
                if not any(isinstance(event, Chunk) for event in recorded.events):
                    return None, f"{path} has no chunk of frames"
                return recorded.duration_s, ""
        except (StreamingVLMError, OSError) as error:
            return None, str(error)
