"""A bag or a video, opened once for its frames, stamps and annotations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from ..bags.reader import BagReader
from ..bags.storage import has_bag_suffix
from ..errors import SourceError
from .bag_recording import BagRecording
from .video_recording import VideoRecording

Recording: TypeAlias = BagRecording | VideoRecording


def is_bag(path: Path) -> bool:
    """Return True if a recording is a bag; otherwise it is a video."""
    return path.is_dir() or has_bag_suffix(path.name)


@contextmanager
def open_recording(path: Path, camera: str | None = None) -> Iterator[Recording]:
    """Open a rosbag2 folder, one of its files, or a video file.

    `camera` is the image topic of a bag; None if it has only one.

    Raises:
        BagError: the bag can't be read.
        SourceError: there is no such camera, or no usable image.
    """
    if is_bag(path):
        with BagReader(path) as bag:
            yield BagRecording(bag, camera)
    elif camera is not None:
        raise SourceError(f"{path} is a video, which has no topics: leave out {camera}")
    else:
        yield VideoRecording(path)
