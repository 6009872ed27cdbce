"""The command that shows a moment of a recording again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ...bags.cdr import MessageDecoder
from ...bags.reader import BagReader
from ...bags.types import IMAGE_TYPES
from ...errors import BagError
from ...frames.image_decoding import stamp_ns_of
from ...recordings.recording import is_bag
from ...types import NS_PER_S
from ..candidate import split

EARLIER_S = 3.0
"""A replay begins so long before its moment: one must see it coming."""

_OPTIONS = ("fps", "instruction", "temperature", "seed")
"""Settings that `streamingvlm replay` knows."""


@dataclass(frozen=True)
class Replay:
    """How a recording is shown again. `lead_s` is how long a bag is older than its second 0.

    `camera` is the topic of its images, None if there is only one.
    """

    path: Path
    lead_s: float
    camera: str | None = None

    def command(self, model: str, time_s: float) -> str:
        """A line for a shell, in whatever folder.

        A bag is played into ROS from shortly before `time_s`; a video, which only a model can be
        shown, is narrated again by this one.
        """
        words = ["streamingvlm", "replay", str(self.path.absolute())]
        if is_bag(self.path):
            start_s = max(0.0, self.lead_s + time_s - EARLIER_S)
            camera = ["--topic", self.camera] if self.camera else []
            return shlex.join([*words, "--live", *camera, "--start", f"{start_s:.1f}"])
        name, given = split(model)
        options = [f"--{its}={value}" for its, value in given.items() if its in _OPTIONS]
        return shlex.join([*words, "--model", name, *options])


def replay(path: Path, camera: str | None, chunk_s: float) -> Replay:
    """The replay of a recording whose seconds were counted in chunks of `chunk_s`."""
    return Replay(path, _lead_s(path, camera, chunk_s) if is_bag(path) else 0.0, camera)


def _lead_s(path: Path, camera: str | None, chunk_s: float) -> float:
    """From the first message, where a replay begins, to second 0: by the recorder's clock.

    0 if that can't be read.
    """
    chunk_ns = round(chunk_s * NS_PER_S)
    try:
        with BagReader(path) as bag:
            cameras = [
                t.name for t in bag.topics if t.type in IMAGE_TYPES and camera in (None, t.name)
            ]
            first, image = next(bag.messages()), next(bag.messages(cameras))
            stamp_ns = stamp_ns_of(MessageDecoder().decode(image))
    except (BagError, StopIteration):
        return 0.0
    return (image.stamp_ns - first.stamp_ns - stamp_ns % chunk_ns) / NS_PER_S
