"""Commands that show a part of a recording again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ...bags.cdr import MessageDecoder
from ...bags.reader import BagReader
from ...bags.types import IMAGE_TYPES
from ...frames.image_decoding import stamp_ns_of
from ...recordings.recording import is_bag
from ...types import NS_PER_S
from ..candidate import split_label

LEAD_IN_S = 3.0
"""A replay starts this long before the moment."""

_OPTIONS = ("fps", "instruction", "temperature", "seed")
"""Settings that are options of `streamingvlm replay`."""


@dataclass(frozen=True)
class Replay:
    """A recording that can be replayed.

    `offset_s` is the time from a bag's first message to second 0. `camera` is the image topic,
    None if there is only one.
    """

    path: Path
    offset_s: float
    camera: str | None = None

    @classmethod
    def of(cls, path: Path, camera: str | None, *, chunk_s: float) -> Replay:
        """Return the replay of a recording whose seconds were counted in chunks of `chunk_s`."""
        offset_s = _bag_offset_s(path, camera, chunk_s=chunk_s) if is_bag(path) else 0.0
        return cls(path, offset_s, camera)

    def command(self, model: str, time_s: float) -> str:
        """Return a shell command that works in any folder.

        A bag is played into ROS from shortly before `time_s`. A video can't be played into ROS, so
        `model` narrates it again.
        """
        words = ["streamingvlm", "replay", str(self.path.absolute())]
        if is_bag(self.path):
            start_s = max(0.0, self.offset_s + time_s - LEAD_IN_S)
            camera = ["--topic", self.camera] if self.camera else []
            return shlex.join([*words, "--live", *camera, "--start", f"{start_s:.1f}"])
        name, settings = split_label(model)
        options = [f"--{name}={value}" for name, value in settings.items() if name in _OPTIONS]
        return shlex.join([*words, "--model", name, *options])


def _bag_offset_s(path: Path, camera: str | None, *, chunk_s: float) -> float:
    """Return the time from the first message to second 0 by the recorder's clock.

    0 if it can't be read.
    """
    chunk_ns = round(chunk_s * NS_PER_S)
    try:
        with BagReader(path) as bag:
            cameras = [
                topic.name
                for topic in bag.topics
                if topic.type in IMAGE_TYPES and camera in (None, topic.name)
            ]
            first, image = next(bag.messages()), next(bag.messages(cameras))
            stamp_ns = stamp_ns_of(MessageDecoder().decode(image))
    except Exception:  # readers may raise anything, and the offset is only a convenience
        return 0.0
    return (image.stamp_ns - first.stamp_ns - stamp_ns % chunk_ns) / NS_PER_S
