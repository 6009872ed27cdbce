"""Small pictures of a recording as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import PIL.Image

from ...config import FrameConfig
from ...recordings.recording import open_recording
from ...types import NS_PER_S, Chunk, Frame, Image

SIDE_PX = 160
"""Longest side: the page shows pictures no larger."""

_JPEG_QUALITY = 60


def thumbnails(
    path: Path, camera: str | None, *, config: FrameConfig, times_s: Iterable[float]
) -> dict[float, str]:
    """Return for each time the newest frame that a model had seen by then.

    Reads the recording once, up to the last time. A recording that can't be read has no pictures.
    """
    pictures: dict[float, str] = {}
    try:
        with open_recording(path, camera) as recording:
            events, start_ns = recording.chunks(config), recording.start_ns(config)
            frames = (f for e in events if isinstance(e, Chunk) for f in e.frames)
            for time_s, image in _newest(frames, start_ns, times_s=sorted(set(times_s))):
                pictures[time_s] = _data_url(image)
    except Exception:  # readers may raise anything
        pass  # The evaluation has reported it, and the texts need no pictures.
    return pictures


def _newest(
    frames: Iterator[Frame], start_ns: int, *, times_s: list[float]
) -> Iterator[tuple[float, Image]]:
    newest = following = next(frames, None)
    for time_s in times_s:
        while following and (following.stamp_ns - start_ns) / NS_PER_S <= time_s:
            newest, following = following, next(frames, None)
        if newest:
            yield time_s, newest.image


def _data_url(image: Image) -> str:
    picture, jpeg = PIL.Image.fromarray(image), io.BytesIO()
    picture.thumbnail((SIDE_PX, SIDE_PX))
    picture.save(jpeg, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"
