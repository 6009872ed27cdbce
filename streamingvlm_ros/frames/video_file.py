"""The one way to open a video file: its track, its time 0, and what else a file may be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import SourceError
from ..types import NS_PER_S
from .not_a_video import describe

_OTHER_FORMATS = frozenset(
    (
        # They name other files or addresses, or are patterns of file names.
        *("concat", "dash", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "vobsub"),
        # They draw text files.
        *("adf", "bin", "idf", "tty", "xbin"),
    )
)
"""FFmpeg's names for formats that are no video files."""
_STILL_PICTURE = "_pipe"
"""Ending of FFmpeg's names for formats of single pictures."""


@dataclass(frozen=True, slots=True)
class VideoFile:
    """An open video file and the track that is narrated.

    Time 0 is the presentation start: the first picture or sound, as players show it. `start_s` is
    that by the file's own clock.
    """

    path: Path
    container: InputContainer
    stream: VideoStream
    start_s: Fraction
    other_tracks: int

    @property
    def tick_s(self) -> Fraction:
        """Unit of the track's time stamps in seconds."""
        return self.stream.time_base or Fraction(1, av.time_base)

    def since_start_ns(self, time_s: Fraction) -> int:
        """Return a time of the file's clock in nanoseconds since time 0."""
        return round((time_s - self.start_s) * NS_PER_S)

    def ticks(self, since_start_ns: int) -> int:
        """Return the track's time stamp at a time since time 0, rounded down."""
        return (Fraction(since_start_ns, NS_PER_S) + self.start_s) // self.tick_s

    @property
    def declared_s(self) -> float | None:
        """Length of all tracks that the file declares, never too long; None if it doesn't.

        Files are free to count it by their own clock or from their first stamp.
        """
        duration = self.container.duration
        return None if duration is None else max(duration / av.time_base - float(self.start_s), 0.0)

    @property
    def duration_s(self) -> float | None:
        """Seconds from time 0 to the end of the track; None if the file doesn't say."""
        if self.stream.duration is None:
            return self.declared_s
        end = (self.stream.start_time or 0) + self.stream.duration
        return float(end * self.tick_s - self.start_s)


@contextmanager
def open_video(path: Path) -> Iterator[VideoFile]:
    """Open a file and choose its track: the first that is marked as default, else the first.

    Its name is always taken for a file's, never for an address or a pattern.

    Raises:
        SourceError: the file can't be opened or has no video.
    """
    with _open(path) as container:
        tracks = [
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not tracks:
            raise SourceError(f"{path} has no video in it{_content(container, path)}")
        default = (track for track in tracks if track.disposition & Disposition.default)
        stream = next(default, tracks[0])
        if stream.codec_context is None:
            raise SourceError(f"no decoder for the video in {path}: encode it anew, as H.264")
        yield VideoFile(path, container, stream, _start_s(container, stream), len(tracks) - 1)


def _open(path: Path) -> InputContainer:
    formats = sorted(
        name
        for name in av.formats_available
        if name not in _OTHER_FORMATS and not name.endswith(_STILL_PICTURE)
    )
    # An absolute path has no protocol. The whitelists hold for all that a file refers to, too.
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(formats)}
    try:
        return av.open(str(path.absolute()), container_options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = describe(path) or getattr(error, "strerror", None) or error
        raise SourceError(f"can't open {path} as a video: {reason}") from error


def _content(container: InputContainer, path: Path) -> str:
    if container.streams.video:
        return ": it is sound with a cover picture"
    if container.streams.audio:
        return ", only sound"
    reason = describe(path)
    return f": {reason}" if reason else ""


def _start_s(container: InputContainer, stream: VideoStream) -> Fraction:
    """Return the presentation start, without rounding where the track is the first to begin."""
    track_s = None
    if stream.start_time is not None and stream.time_base is not None:
        track_s = stream.start_time * stream.time_base
    if container.start_time is None:
        return track_s or Fraction(0)
    start_s = Fraction(container.start_time, av.time_base)
    rounded = track_s is not None and abs(track_s - start_s) * av.time_base <= 1
    return track_s if rounded and track_s is not None else start_s
