"""Chunks from video files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..config import FrameConfig
from ..errors import SourceError
from ..plural import plural
from ..time_format import format_clock
from ..types import NS_PER_S, Chunk, Frame
from .chunker import Chunker, RawChunk
from .hold import Hold, Shown
from .picture_reader import PictureReader, open_pictures
from .upright import Picture
from .video_file import VideoFile, open_video

_CUT_S = 1.0
"""A file counts as truncated if its declared length exceeds its last packet by this."""
_OFFSET_S = 0.1
"""Smallest offset that is mentioned. Codecs delay a first picture or sound by less."""


class VideoSource:
    """The chunks of a video file, decoded while they are iterated.

    Time 0 is the presentation start, see `VideoFile`. A picture that stands still is repeated for
    `hold_last_frame` seconds.

    Raises SourceError if the file can't be opened or has no video and, during iteration, if no
    picture can be decoded or time jumps back. After iteration, `losses` describes damage that
    could be skipped, and `notes` what else may surprise.
    """

    def __init__(
        self, path: Path | str, config: FrameConfig, *, span_s: tuple[float, float] | None = None
    ) -> None:
        """With `span_s`, read only [begin, end), in chunks that begin with the span."""
        self._path, self._config = Path(path), config
        self._begin_ns, self._end_ns = _span_ns(span_s)
        self._other_sizes = self._first_ns = 0
        self.losses: dict[str, str] = {}
        with open_video(self._path) as video:
            self.duration_s: float | None = video.duration_s
            """Seconds from time 0 to the end; None where the file doesn't say."""
            self._notes = list(_notes(video))
        self.notes: dict[str, str] = self._by_name(self._notes)

    def __iter__(self) -> Iterator[Chunk]:
        self._other_sizes = self._first_ns = 0
        chunker: Chunker[Picture] = Chunker(self._config)
        hold = Hold(self._config)
        with open_pictures(self._path, self._begin_ns) as (reader, pictures):
            for stamp_ns, picture in hold.frames(self._shown(reader, pictures)):
                if chunker.jumped_back(stamp_ns):
                    at_s = (self._begin_ns + stamp_ns) / NS_PER_S
                    raise SourceError(
                        f"time goes back in {self._path} at {at_s:.1f} s, as in joined "
                        "recordings: narrate its parts one by one, or encode it anew"
                    )
                _, done = chunker.offer(stamp_ns, picture)
                yield from map(self._decode, done)
            yield from map(self._decode, chunker.close())
            self.losses = self._by_name(_losses(reader, other_sizes=self._other_sizes))
        notes = [*self._notes, *_late(self._first_ns), *_left_out(hold, self._config)]
        self.notes = self._by_name(notes)

    def _shown(
        self, reader: PictureReader, pictures: Iterable[tuple[int, Picture]]
    ) -> Iterator[Shown[Picture]]:
        """Yield the pictures until the end of the span; their times count from its begin."""
        begin_ns = self._begin_ns
        end_ns = None if self._end_ns is None else self._end_ns - begin_ns
        last: tuple[int, Picture] | None = None
        for stamp_ns, picture in pictures:
            since_ns = stamp_ns - begin_ns
            if last is not None:
                until_ns = since_ns if end_ns is None else min(since_ns, end_ns)
                yield Shown(last[1], last[0], until_ns, replaced=until_ns == since_ns)
            if end_ns is not None and since_ns >= end_ns:
                return
            if since_ns < 0:
                reader.damaged = 0
            if last is None and not begin_ns:
                self._first_ns = since_ns
            last = since_ns, picture
        if last is None:
            raise SourceError(_nothing_decoded(reader))
        until_ns = max(reader.picture_end_ns - begin_ns, last[0])
        yield Shown(last[1], last[0], until_ns if end_ns is None else min(until_ns, end_ns))

    def _decode(self, raw: RawChunk[Picture]) -> Chunk:
        """Return a chunk of the newest picture's size; others are left out and counted."""
        begin_ns = self._begin_ns
        frames = [Frame(picture.upright(), begin_ns + ns) for ns, picture in raw.frames]
        usable = [frame for frame in frames if frame.image.shape == frames[-1].image.shape]
        self._other_sizes += len(frames) - len(usable)
        return Chunk(tuple(usable), begin_ns + raw.start_ns, begin_ns + raw.end_ns)

    def _by_name(self, texts: Iterable[str]) -> dict[str, str]:
        text = "; ".join(texts)
        return {self._path.name: text} if text else {}


def _span_ns(span_s: tuple[float, float] | None) -> tuple[int, int | None]:
    if span_s is None:
        return 0, None
    begin_s, end_s = span_s
    return round(begin_s * NS_PER_S), round(end_s * NS_PER_S)


def _nothing_decoded(reader: PictureReader) -> str:
    path = reader.video.path
    if reader.damaged or reader.failure:
        return f"no frame of {path} can be decoded: it is damaged or encrypted"
    return f"{path} has no frames: it is empty, or its index is damaged"


def _losses(reader: PictureReader, *, other_sizes: int) -> Iterator[str]:
    if reader.damaged:
        yield f"{plural(reader.damaged, 'frame')} damaged"
    if other_sizes:
        yield f"{plural(other_sizes, 'frame')} left out: their size changed within a round"
    if not reader.ended:
        return
    reached_s, whole_s = reader.reached_ns / NS_PER_S, reader.video.declared_s
    ends = format_clock(reader.picture_end_ns / NS_PER_S)
    if reader.failure:
        yield f"can't be read beyond {ends}: {reader.failure}"
    elif whole_s is not None and whole_s > reached_s + _CUT_S:
        yield (
            f"its pictures end at {ends} of {format_clock(whole_s)}: it is damaged, or was cut off"
        )


def _notes(video: VideoFile) -> Iterator[str]:
    if abs(video.start_s) >= _OFFSET_S:
        yield (
            f"time 0 is where players begin, at {float(video.start_s):.2f} s of the file's own "
            "clock"
        )
    if video.other_tracks:
        number = video.container.streams.video.index(video.stream) + 1
        yield f"it has {video.other_tracks + 1} video tracks: number {number} is used"


def _late(first_ns: int) -> Iterator[str]:
    if first_ns >= _OFFSET_S * NS_PER_S:
        yield f"its first picture comes at {first_ns / NS_PER_S:.2f} s"


def _left_out(hold: Hold, config: FrameConfig) -> Iterator[str]:
    if hold.left_out_ns:
        yield (
            f"pictures stand still for longer than hold_last_frame, {config.hold_last_frame:g} s: "
            f"{hold.left_out_ns / NS_PER_S:.1f} s have no frames"
        )
