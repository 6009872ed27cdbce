"""Small pictures of a recording, as data addresses for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import PIL.Image

from ...config import FrameConfig
from ...errors import BagError, SourceError
from ...recordings.recording import open_recording
from ...types import NS_PER_S, Chunk, Frame, Image

SIDE_PX = 160
"""Longest side of a thumbnail: two of its pixels on one of a laptop's would be wasted."""

_QUALITY = 60


def thumbnails(
    path: Path, camera: str | None, config: FrameConfig, times_s: Iterable[float]
) -> dict[float, str]:
    """For each time the newest frame of those that a model was shown until then.

    One pass over the recording, which ends after the last time. What can't be read has no pictures.
    """
    found: dict[float, str] = {}
    try:
        with open_recording(path, camera) as recording:
            events, start_ns = recording.chunks(config), recording.start_ns(config)
            frames = (f for e in events if isinstance(e, Chunk) for f in e.frames)
            for time_s, image in _newest(frames, start_ns, sorted(set(times_s))):
                found[time_s] = _address(image)
    except (BagError, SourceError):
        pass  # The evaluation has said why; the page's words don't need pictures.
    return found


def _newest(
    frames: Iterator[Frame], start_ns: int, times_s: list[float]
) -> Iterator[tuple[float, Image]]:
    newest = following = next(frames, None)
    for time_s in times_s:
        while following and (following.stamp_ns - start_ns) / NS_PER_S <= time_s:
            newest, following = following, next(frames, None)
        if newest:
            yield time_s, newest.image


def _address(image: Image) -> str:
    picture, packed = PIL.Image.fromarray(image), io.BytesIO()
    picture.thumbnail((SIDE_PX, SIDE_PX))
    picture.save(packed, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode()}"
