"""A video file as a recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ..config import FrameConfig
from ..errors import WordsError
from ..frames.picture_reader import PictureReader
from ..frames.video import VideoSource
from ..frames.video_file import open_video
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

    @property
    def notes(self) -> dict[str, str]:
        """What may surprise in an intact video, such as a first picture after time 0."""
        return self._source.notes

    def start_ns(self, config: FrameConfig) -> int:
        """Return 0: a video's time begins with its presentation, see `VideoFile`."""
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

        `stamp_ns` counts from time 0, `recorded_ns` is the file's own time.
        """
        with open_video(self.path) as video:
            stamps_ns = [
                video.since_start_ns(packet.pts * video.tick_s)
                for packet in PictureReader(video).packets()
                if packet.stream.index == video.stream.index
                if packet.pts is not None and not packet.is_discard
            ]
            offset_ns = round(video.start_s * NS_PER_S)
        return [ImageStamp(ns, offset_ns + ns) for ns in sorted(stamps_ns) if ns >= 0]

    def narrations(self, topic: str) -> Sequence[Narration]:
        """Raise WordsError: a video has no topics."""
        raise WordsError(f"{self.path} is a video: it has no narration {topic}")
