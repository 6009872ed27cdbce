"""Chunks from video files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..config import FrameConfig
from ..errors import SourceError
from ..plural import plural
from ..time_format import format_clock
from ..types import NS_PER_S, Chunk, Frame, Image
from .chunker import Chunker, RawChunk

_CUT_S = 1.0
"""A file counts as truncated if its declared length exceeds its last frame by this."""


class VideoSource:
    """The chunks of a video file, decoded while they are iterated. Time 0 is the first frame.

    Raises SourceError if the file can't be opened or has no video and, during iteration, if it is
    broken. After iteration, `losses` describes damage that could be skipped.
    """

    def __init__(
        self, path: Path | str, config: FrameConfig, *, span_s: tuple[float, float] | None = None
    ) -> None:
        """With `span_s`, read only [begin, end), in chunks that begin with the span."""
        self._path, self._config = Path(path), config
        self._begin_ns, self._end_ns = _span_ns(span_s)
        self.losses: dict[str, str] = {}
        with self._open() as container:
            self.duration_s: float | None = _duration_s(container, _video(container, self._path))
            """Length in seconds; None where the file doesn't say."""

    def __iter__(self) -> Iterator[Chunk]:
        chunker: Chunker[VideoFrame] = Chunker(self._config)
        self.losses.clear()
        try:
            with self._open() as container:
                for stamp_ns, picture in self._span_frames(container):
                    if chunker.jumped_back(stamp_ns - self._begin_ns):
                        raise SourceError(
                            f"time goes back in {self._path} at {stamp_ns / NS_PER_S:.1f} s, as in "
                            "joined recordings: narrate its parts one by one, or encode it anew"
                        )
                    _, done = chunker.offer(stamp_ns - self._begin_ns, picture)
                    yield from map(self._decode, done)
        except av.FFmpegError as error:
            raise SourceError(f"{self._path} can't be read on: {error.strerror}") from error
        yield from map(self._decode, chunker.close())

    def _span_frames(self, container: InputContainer) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames of the span, and record damage in `losses`."""
        corrupt, before_s, reached_s = 0, 0.0, 0.0
        for stamp_ns, picture in self._frames(container):
            if self._end_ns is not None and stamp_ns >= self._end_ns:
                break
            # Not counted from the first frame: some containers' lengths aren't, either.
            before_s, reached_s = reached_s, picture.time or 0.0
            if stamp_ns >= self._begin_ns:
                corrupt += picture.is_corrupt
                yield stamp_ns, picture
        else:
            self._record_end(reached_s, reached_s - before_s)
        if corrupt:
            self._add_loss(f"{plural(corrupt, 'frame')} damaged")

    def _record_end(self, reached_s: float, frame_s: float) -> None:
        if self.duration_s is not None and self.duration_s > reached_s + frame_s + _CUT_S:
            ends, whole = format_clock(reached_s), format_clock(self.duration_s)
            self._add_loss(f"its pictures end at {ends} of {whole}: it is damaged, or was cut off")

    def _add_loss(self, loss: str) -> None:
        earlier = self.losses.get(self._path.name)
        self.losses[self._path.name] = f"{earlier}; {loss}" if earlier else loss

    def _decode(self, chunk: RawChunk[VideoFrame]) -> Chunk:
        begin_ns = self._begin_ns
        frames = (Frame(_upright(picture), begin_ns + ns) for ns, picture in chunk.frames)
        return Chunk(tuple(frames), begin_ns + chunk.start_ns, begin_ns + chunk.end_ns)

    def _open(self) -> InputContainer:
        try:
            return av.open(str(self._path))
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"can't open {self._path} as a video: {error.strerror}") from error

    def _frames(self, container: InputContainer) -> Iterator[tuple[int, VideoFrame]]:
        """Yield (stamp in ns, picture) of every frame; the file's first is at 0.

        Frames before the span are skipped as far as the file can be searched.
        """
        stream = _video(container, self._path)
        stream.thread_type = "AUTO"
        first: int | None = None
        for picture in container.decode(stream):
            if picture.pts is None or picture.time_base is None:
                raise SourceError(
                    f"the frames of {self._path} have no time stamps: put them into a container, "
                    "for instance with `ffmpeg -i VIDEO -c copy video.mp4`"
                )
            if first is None:
                first = picture.pts
                if self._begin_ns:
                    begin = int(self._begin_ns / NS_PER_S / picture.time_base)
                    container.seek(first + begin, stream=stream)
                    continue
            yield round((picture.pts - first) * picture.time_base * NS_PER_S), picture
        if first is None:
            raise SourceError(f"{self._path} has no frames")


def _span_ns(span_s: tuple[float, float] | None) -> tuple[int, int | None]:
    if span_s is None:
        return 0, None
    begin_s, end_s = span_s
    return round(begin_s * NS_PER_S), round(end_s * NS_PER_S)


def _video(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise SourceError(f"{path} has no video in it")
    return container.streams.video[0]


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def _upright(picture: VideoFrame) -> Image:
    """Rotate an image as a player does: a phone held upright records rotated frames."""
    array = picture.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    return np.ascontiguousarray(np.rot90(array, picture.rotation // 90))
