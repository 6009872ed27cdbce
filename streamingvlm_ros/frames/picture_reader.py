"""The pictures of a video file in order, past damaged packets and from any time on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, dropwhile
from pathlib import Path
from typing import Any

import av
from av.packet import Packet

from ..errors import SourceError
from ..types import NS_PER_S
from .upright import UNCHANGED, Picture, matrix_of
from .video_file import VideoFile, open_video

_MAX_FAILURES = 20
"""Errors in a row after which the rest of a file counts as unreadable."""

_STEPS_BACK_S = (0, 10, 60)
"""Where to search for a key frame before a time; if none of these has one, all is read."""

_NO_TIMESTAMPS = 0x0080
"""FFmpeg's AVFMT_NOTIMESTAMPS: after a search, stamps would be counted from 0."""


class PictureReader:
    """Reads a video file once, from the beginning or from a search.

    While it is read: `damaged` counts packets and pictures, `picture_end_ns` is the end of the
    last picture and `reached_ns` that of the last packet of any track, since time 0. After that,
    `ended` is true, and `failure` is the reason if the file can't be read to its end.
    """

    def __init__(self, video: VideoFile) -> None:
        self.video = video
        self.damaged = 0
        self.picture_end_ns = self.reached_ns = 0
        self.failure, self.ended = "", False
        self._matrix, self._stamped = UNCHANGED, False
        duration_s = video.duration_s
        self._track_end_ns = sys.maxsize if duration_s is None else round(duration_s * NS_PER_S)
        # Decoding several frames at once would lose the errors and frames at a damaged end.
        video.stream.thread_type = "SLICE"

    def packets(self) -> Iterator[Packet[Any]]:
        """Yield the packets of all tracks. An error is passed over if packets follow it."""
        failures = 0
        while failures <= _MAX_FAILURES:
            try:
                for packet in self.video.container.demux():
                    self.damaged += failures > 0
                    failures = 0
                    self._note_end(packet)
                    yield packet
            except av.FFmpegError as error:
                failures += 1
                self.failure = str(error.strerror)
            else:
                self.failure = ""
                break
        self.ended = True

    def pictures(self) -> Iterator[tuple[int, Picture]]:
        """Yield (stamp in ns since time 0, picture). SourceError if pictures have no stamps."""
        index = self.video.stream.index
        for packet in self.packets():
            if packet.stream.index == index:
                yield from self._decode(packet)
        if self.failure:
            yield from self._decode(None)

    def search(self, stamp_ns: int) -> bool:
        """Continue at a key frame at or before this time. False if the file can't be searched."""
        video = self.video
        if stamp_ns <= 0 or video.container.format.flags & _NO_TIMESTAMPS:
            return False
        try:
            video.container.seek(video.ticks(stamp_ns), stream=video.stream)
        except av.FFmpegError:
            return False
        return True

    def _decode(self, packet: Packet[Any] | None) -> Iterator[tuple[int, Picture]]:
        try:
            frames = self.video.stream.decode(packet)
        except av.FFmpegError:
            self.damaged += 1
            return
        tick_s = self.video.tick_s
        for frame in frames:
            if frame.pts is None and self._stamped:
                self.damaged += 1
                continue
            if frame.pts is None:
                raise SourceError(
                    f"the frames of {self.video.path} have no time stamps: put them into a "
                    "container, for instance with `ffmpeg -i VIDEO -c copy video.mp4`"
                )
            self._stamped = True
            self.damaged += frame.is_corrupt
            self._matrix = matrix_of(frame, self._matrix)
            stamp_ns = self.video.since_start_ns(frame.pts * tick_s)
            yield stamp_ns, Picture(frame, self._matrix)

    def _note_end(self, packet: Packet[Any]) -> None:
        if packet.pts is None or packet.time_base is None:
            return
        # A data track may have one packet for all of the film.
        ticks = 0 if packet.stream.type == "data" else packet.duration or 0
        end_ns = self.video.since_start_ns((packet.pts + ticks) * packet.time_base)
        self.reached_ns = max(self.reached_ns, end_ns)
        if packet.stream.index == self.video.stream.index:
            # MP4's durations belong to the order of decoding: they may reach beyond the track.
            self.picture_end_ns = max(self.picture_end_ns, min(end_ns, self._track_end_ns))


@contextmanager
def open_pictures(
    path: Path, begin_ns: int
) -> Iterator[tuple[PictureReader, Iterator[tuple[int, Picture]]]]:
    """Open a file at a time; yield its reader, and its pictures with their stamps.

    The first is a key frame at or before `begin_ns`, or the first of the file.

    Raises:
        SourceError: the file can't be opened or has no video.
    """
    for step_s in _STEPS_BACK_S:
        with open_video(path) as video:
            reader = PictureReader(video)
            if not reader.search(begin_ns - step_s * NS_PER_S):
                break
            # Others may be decoded, but from pictures that were never read.
            pictures = dropwhile(lambda each: not each[1].frame.key_frame, reader.pictures())
            first = next(pictures, None)
            if first and first[0] <= begin_ns:
                yield reader, chain([first], pictures)
                return
    with open_video(path) as video:
        reader = PictureReader(video)
        yield reader, reader.pictures()
