"""What was recorded, a bag or a video, as events for a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..bags.reader import BagReader
from ..bags.storage import STORAGES
from ..config import FrameConfig
from ..errors import SourceError
from ..frames.video import VideoSource
from ..session import Event
from .bag_source import BagSource


@dataclass(frozen=True)
class Recording:
    """A camera's frames, in chunks."""

    events: Iterable[Event]
    start_ns: int
    """When the first chunk begins: what seconds are counted from."""
    duration_s: float | None
    """Length in seconds; None where it isn't known."""
    losses: Callable[[], Mapping[str, str]]
    """What could not be read, and why, when the events have been iterated."""


def is_bag(path: Path) -> bool:
    """Whether a recording is a bag; else it is a video."""
    return path.is_dir() or path.name.endswith(STORAGES)


@contextmanager
def recording(
    path: Path,
    topic: str | None,
    config: FrameConfig,
    span_s: tuple[float, float] | None = None,
) -> Iterator[Recording]:
    """A rosbag2 folder, one of its files, or a video file.

    `topic` is the camera in a bag; None if there is only one. With `span_s` only [begin, end) of
    it, seconds from `start_ns`, in chunks that begin where the span does. BagError or SourceError
    if there is nothing to see.
    """
    if is_bag(path):
        with BagReader(path) as bag:
            source = BagSource(bag, topic, config, span_s)
            yield Recording(source, source.start_ns, bag.duration_s, lambda: _losses(bag, source))
    elif topic is not None:
        raise SourceError(f"{path} is no bag: a video has no topics")
    else:
        video = VideoSource(path, config, span_s=span_s)
        yield Recording(video, 0, video.duration_s, lambda: video.losses)


def _losses(bag: BagReader, source: BagSource) -> dict[str, str]:
    if not source.rejected:
        return bag.losses
    return {**bag.losses, source.topic.name: str(source.rejected)}
