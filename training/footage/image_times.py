"""When a recording shows something, by its stamps alone: nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import av

from streamingvlm_ros.bags.messages import Decoder
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import BagError, SourceError
from streamingvlm_ros.frames.pictures import stamp_ns_of
from streamingvlm_ros.recordings.bag_source import BagSource
from streamingvlm_ros.recordings.recording import is_bag
from streamingvlm_ros.types import NS_PER_S


@dataclass(frozen=True, slots=True)
class ImageTimes:
    """Stretches of time with images, in seconds as words are timed, ends included.

    A gap between two is longer than two frames; a frame lasts `frame_s`, as the model samples or,
    if that is longer, as the camera films: every `filmed_s`, 0 for a single image. `late_s` is the
    time of a video's first image by its file, from which seconds are counted.
    """

    stretches: tuple[tuple[float, float], ...]
    frame_s: float
    filmed_s: float
    late_s: float = 0.0

    @property
    def begin_s(self) -> float:
        """When the first image was taken: in a bag within its first chunk."""
        return self.stretches[0][0]

    @property
    def end_s(self) -> float:
        """When the last image was taken."""
        return self.stretches[-1][1]

    def away_s(self, start_s: float, end_s: float) -> float:
        """How far [start_s, end_s) is from the nearest image; 0 within a stretch."""
        return min(max(begin - end_s, start_s - end, 0.0) for begin, end in self.stretches)


def image_times(path: Path, camera: str | None, frames: FrameConfig) -> ImageTimes:
    """Those of a bag's camera by its header stamps, those of a video by its packets.

    BagError or SourceError if there are none.
    """
    first_ns, stamps_ns = _bag(path, camera, frames) if is_bag(path) else _video(path)
    if not stamps_ns:
        raise SourceError(f"{path} has no images with time stamps")
    gaps_s = [(after - before) / NS_PER_S for before, after in pairwise(stamps_ns)]
    filmed_s = median(gaps_s) if gaps_s else 0.0
    frame_s = max(1 / frames.fps, filmed_s)
    stretches = tuple(_stretches(stamps_ns, 2 * frame_s))
    return ImageTimes(stretches, frame_s, filmed_s, first_ns / NS_PER_S)


def _bag(path: Path, camera: str | None, frames: FrameConfig) -> tuple[int, list[int]]:
    decoder, stamps_ns = Decoder(), []
    with BagReader(path) as bag:
        source = BagSource(bag, camera, frames)
        for recorded in bag.messages([source.topic.name]):
            # What is damaged is no image, here as where it is shown.
            with suppress(BagError):
                stamps_ns.append(stamp_ns_of(decoder.decode(recorded)) - source.start_ns)
    return 0, sorted(stamps_ns)


def _video(path: Path) -> tuple[int, list[int]]:
    """The first image's time by the file, and those of all since the first."""
    stamps: list[int] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise SourceError(f"{path} has no video in it")
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if packet.pts is not None and not packet.is_discard:
                    stamps.append(packet.pts)
            tick = stream.time_base
    except av.FFmpegError as error:
        raise SourceError(f"{path} can't be read: {error.strerror}") from error
    if not stamps or tick is None:
        return 0, []
    first = min(stamps)
    since_ns = (round((stamp - first) * tick * NS_PER_S) for stamp in stamps)
    return round(first * tick * NS_PER_S), sorted(since_ns)


def _stretches(stamps_ns: list[int], gap_s: float) -> Iterator[tuple[float, float]]:
    begin_ns = stamps_ns[0]
    for before_ns, after_ns in pairwise(stamps_ns):
        if (after_ns - before_ns) / NS_PER_S > gap_s:
            yield begin_ns / NS_PER_S, before_ns / NS_PER_S
            begin_ns = after_ns
    yield begin_ns / NS_PER_S, stamps_ns[-1] / NS_PER_S
