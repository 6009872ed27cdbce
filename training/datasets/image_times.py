"""Times at which a recording has images, by their stamps: nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import SourceError
from streamingvlm_ros.recordings.bag_recording import until_jump_back
from streamingvlm_ros.recordings.recording import Recording, is_bag
from streamingvlm_ros.types import NS_PER_S

ROUNDING_S = 1e-6
"""Times of files are decimal fractions, those of images whole nanoseconds."""
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class ImageTimes:
    """Stretches of time with images, in the seconds of the words, ends included.

    Gaps between stretches are longer than two frames; in a video, in which a picture is held,
    they begin where it no longer is. `filmed_s` is the camera's interval, 0 for
    a single image; `frame_s` is that or the model's sampling interval, whichever is longer.
    `late_s` is the time by the file's own clock from which the seconds of a video are counted.
    The times end where a bag's stamps jump back; `back_ns` is the recorder's time of that, None
    if they don't.
    """

    stretches: tuple[tuple[float, float], ...]
    frame_s: float
    filmed_s: float
    late_s: float = 0.0
    back_ns: int | None = None

    @property
    def begin_s(self) -> float:
        """Time of the first image: in a bag within the first chunk."""
        return self.stretches[0][0]

    @property
    def end_s(self) -> float:
        """Time of the last image."""
        return self.stretches[-1][1]

    def away_s(self, start_s: float, end_s: float) -> float:
        """Return how far [start_s, end_s) is from the nearest image; 0 within a stretch."""
        return min(max(begin - end_s, start_s - end, 0.0) for begin, end in self.stretches)


def image_times(recording: Recording, frames: FrameConfig) -> ImageTimes:
    """Return when a recording has images, by their stamps.

    Raises:
        BagError, SourceError: there are none, or two are more than a day apart.
    """
    stamps, start_ns = recording.image_stamps, recording.start_ns(frames)
    passed = list(until_jump_back(stamps, lambda stamp: stamp.stamp_ns, config=frames))
    if not passed:
        raise SourceError(f"{recording.path} has no images with time stamps")
    back_ns = stamps[len(passed)].recorded_ns if len(passed) < len(stamps) else None
    late_ns = 0 if is_bag(recording.path) else stamps[0].recorded_ns - stamps[0].stamp_ns
    stamps_ns = sorted(stamp.stamp_ns - start_ns for stamp in passed)
    gaps_s = _gaps_s(recording.path, stamps_ns)
    filmed_s = median(gaps_s) if gaps_s else 0.0
    frame_s = max(1 / frames.fps, filmed_s)
    hold_s = 0.0 if is_bag(recording.path) else frames.hold_last_frame
    stretches = tuple(_stretches(stamps_ns, max(2 * frame_s, hold_s), hold_s=hold_s))
    return ImageTimes(stretches, frame_s, filmed_s, late_ns / NS_PER_S, back_ns)


def _gaps_s(path: Path, stamps_ns: Sequence[int]) -> list[float]:
    """Return the seconds between each image and the next."""
    gaps_s = [(after - before) / NS_PER_S for before, after in pairwise(stamps_ns)]
    for before_ns, gap_s in zip(stamps_ns, gaps_s, strict=False):
        if gap_s > _DAY_S:
            raise SourceError(
                f"the clock of {path} was set while it was recorded: at {before_ns / NS_PER_S:.2f} "
                f"s it jumps on by {gap_s / _DAY_S:.1f} days; split it there"
            )
    return gaps_s


def _stretches(
    stamps_ns: list[int], gap_s: float, *, hold_s: float
) -> Iterator[tuple[float, float]]:
    begin_ns = stamps_ns[0]
    for before_ns, after_ns in pairwise(stamps_ns):
        if (after_ns - before_ns) / NS_PER_S > gap_s:
            yield begin_ns / NS_PER_S, before_ns / NS_PER_S + hold_s
            begin_ns = after_ns
    yield begin_ns / NS_PER_S, stamps_ns[-1] / NS_PER_S
