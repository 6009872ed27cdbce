"""A video file as a recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import av

from ..config import FrameConfig
from ..errors import SourceError, WordsError
from ..frames.video import VideoSource
from ..session import Event
from ..types import NS_PER_S, Narration
from .bag_recording import ImageStamp, RecordedAnswer


class VideoRecording:
    """A video file, with the interface of `BagRecording`. Open it with `open_recording`."""

    camera = None
    narration_topics: tuple[str, ...] = ()
    answers: Sequence[RecordedAnswer] = ()

    def __init__(self, path: Path) -> None:
        """SourceError if the file can't be opened or has no video."""
        self.path = path
        self._source = VideoSource(path, FrameConfig())

    @property
    def duration_s(self) -> float | None:
        """Length in seconds; None if the file doesn't give it."""
        return self._source.duration_s

    @property
    def losses(self) -> dict[str, str]:
        """Reasons for unusable parts of the video. Complete when all chunks are iterated."""
        return self._source.losses

    def start_ns(self, config: FrameConfig) -> int:
        """Return 0: a video's time begins with its first frame."""
        return 0

    def chunks(
        self, config: FrameConfig, span_s: tuple[float, float] | None = None
    ) -> Iterator[Event]:
        """Yield the chunks, with `span_s` those of [begin, end), which begin with the span.

        Raises:
            SourceError: the video is broken, or its time jumps back.
        """
        self._source = VideoSource(self.path, config, span_s=span_s)
        return iter(self._source)

    @cached_property
    def image_stamps(self) -> Sequence[ImageStamp]:
        """Yield the times of all images by the packets' stamps. No pixels are decoded.

        `stamp_ns` counts from the first image, `recorded_ns` is the file's own time.
        """
        stamps: list[int] = []
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise SourceError(f"{self.path} has no video in it")
                stream = container.streams.video[0]
                for packet in container.demux(stream):
                    if packet.pts is not None and not packet.is_discard:
                        stamps.append(packet.pts)
                tick = stream.time_base
        except av.FFmpegError as error:
            raise SourceError(f"{self.path} can't be read: {error.strerror}") from error
        if not stamps or tick is None:
            return []
        first = min(stamps)
        first_ns = round(first * tick * NS_PER_S)
        since_ns = sorted(round((stamp - first) * tick * NS_PER_S) for stamp in stamps)
        return [ImageStamp(stamp_ns, first_ns + stamp_ns) for stamp_ns in since_ns]

    def narrations(self, topic: str) -> Sequence[Narration]:
        """Raise WordsError: a video has no topics."""
        raise WordsError(f"{self.path} is a video: it has no narration {topic}")
