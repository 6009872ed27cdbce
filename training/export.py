"""Recordings as clips on disk: videos of the frames that a model sees, and files of conversations.

What comes out is what the authors of StreamingVLM publish (see `conversations`), so that it can be
moved, mixed with theirs, and read by their trainer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av

from streamingvlm_ros.config import FrameConfig, Settings
from streamingvlm_ros.errors import DataError, StreamingVLMError
from streamingvlm_ros.recordings.folder import name_of
from streamingvlm_ros.recordings.recording import recording
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame

from .conversations import write_conversations
from .cutting import CutConfig, Told, cut, told
from .record import ClipRecord

VIDEOS = "videos"
TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"

_CODEC = "libx264"
_QUALITY = {"crf": "12", "preset": "veryfast"}
"""Nearly lossless: a model learns from these pictures, people don't watch them."""
_TICKS = 90_000
"""Of a second, in which frames are stamped: what most containers use."""


@dataclass(frozen=True)
class Exported:
    """What became of the recordings: clips by recording, and why others were left out."""

    train: dict[Path, int]
    validation: dict[Path, int]
    skipped: dict[Path, str]


def export(
    recordings: Sequence[Path],
    output: Path,
    settings: Settings,
    config: CutConfig,
    validation: int,
    advance: Callable[[Path], None] = lambda path: None,
) -> Exported:
    """Write `output`/videos, train.jsonl and validation.jsonl.

    Every `validation`-th recording, from the last on, is for validation, whole: clips of one
    recording are too alike to be on both sides; 0 leaves all to training. A recording that is
    there already is not decoded again. `advance` is told of each that is done. DataError if
    nothing can be used.
    """
    doubled = [name for name, n in Counter(map(name_of, recordings)).items() if n > 1]
    if doubled:
        raise DataError(f"several recordings are called {', '.join(doubled)}: rename them")
    clips: dict[Path, list[ClipRecord]] = {}
    skipped: dict[Path, str] = {}
    for path in recordings:
        try:
            clips[path] = _exported(told(path, None, settings.frames), output, settings, config)
        except StreamingVLMError as error:
            skipped[path] = str(error)
        advance(path)
    if not clips:
        raise DataError(f"nothing can be used: {'; '.join(skipped.values()) or 'no recordings'}")
    its = list(clips)
    apart = set(its[::-1][::validation]) if validation and len(its) > 1 else set()
    sides = {TRAIN: [p for p in its if p not in apart], VALIDATION: [p for p in its if p in apart]}
    for name, paths in sides.items():
        write_conversations(output / name, [clip for path in paths for clip in clips[path]])
    counts = {name: {path: len(clips[path]) for path in paths} for name, paths in sides.items()}
    return Exported(counts[TRAIN], counts[VALIDATION], skipped)


def _exported(its: Told, output: Path, settings: Settings, config: CutConfig) -> list[ClipRecord]:
    records = list(cut(its, config, settings))
    if not records:
        raise DataError(f"{its.path} has no two rounds in a row of which is known what to say")
    video = output / VIDEOS / f"{name_of(its.path)}.mp4"
    if not video.exists():
        _film(its, video, settings.frames)
    return [replace(record, recording=video, camera=None) for record in records]


def _film(its: Told, video: Path, frames: FrameConfig) -> None:
    """The frames that a model sees of a recording, at their times since it began."""
    video.parent.mkdir(parents=True, exist_ok=True)
    draft = video.with_suffix(".part.mp4")
    with recording(its.path, its.camera, frames) as recorded:
        chunks = (event for event in recorded.events if isinstance(event, Chunk))
        shown = (frame for chunk in chunks for frame in chunk.frames)
        _encode(draft, _from(recorded.start_ns, shown), recorded.start_ns)
    draft.rename(video)


def _from(start_ns: int, frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames, the first of them also at `start_ns`: a video's time begins with its first frame.

    A recording that begins in the midst of a chunk has none there, and all words would come late.
    """
    for number, frame in enumerate(frames):
        if not number and frame.stamp_ns != start_ns:
            yield replace(frame, stamp_ns=start_ns)
        yield frame


def _encode(path: Path, frames: Iterable[Frame], start_ns: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(_CODEC, options=_QUALITY)
        stream.time_base = Fraction(1, _TICKS)
        stream.codec_context.time_base = Fraction(1, _TICKS)
        for number, frame in enumerate(frames):
            if not number:
                stream.height, stream.width = frame.image.shape[:2]
                stream.pix_fmt = "yuv444p"
            picture = av.VideoFrame.from_ndarray(frame.image, "rgb24")
            picture = picture.reformat(stream.width, stream.height, "yuv444p")
            picture.pts = round((frame.stamp_ns - start_ns) * _TICKS / NS_PER_S)
            picture.time_base = stream.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
