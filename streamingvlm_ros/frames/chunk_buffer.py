"""The frames of one camera, from their arrival until they are narrated: bounded, newest first."""

from __future__ import annotations

from collections import deque

from ..config import FrameConfig
from ..types import NS_PER_S, ChunkPart, Frame
from .chunker import Chunker, RawChunk, SampleResult
from .image_decoding import BadImageError

GRACE_NS = NS_PER_S // 2
"""Time from an incomplete chunk's end to its closing: longer than frames take to arrive."""


class ChunkBuffer:
    """Collects the frames of one camera and hands out chunks, in parts as they are complete.

    Chunks are handed out in order and entirely, except those that are dropped. At most
    `backlog_chunks` complete chunks may wait; beyond that the oldest not yet begun is dropped, and
    the next chunk's `dropped` counts its frames. Every sampled frame is either handed out or
    counted, once, except those of the open chunk.

    Nothing here waits. Not thread-safe: an inbox guards it.
    """

    def __init__(
        self, config: FrameConfig, *, part_frames: int = 2, recent_frames: int = 0
    ) -> None:
        """Hand out parts of a multiple of `part_frames` frames; a chunk's last may have any number.

        `recent_frames` are kept for `newest`.
        """
        self._config, self._part_frames = config, part_frames
        self._chunker: Chunker[Frame] = Chunker(config)
        self._complete: deque[RawChunk[Frame]] = deque()
        self._newest: deque[Frame] = deque(maxlen=recent_frames)
        # Count of the oldest chunk, which is the open one if none is complete.
        self._frames_handed_out = 0
        self._dropped = 0
        self._timeout_ns: int | None = None
        self._since_ns = 0

    @property
    def backlog(self) -> int:
        """Number of complete chunks that wait and have not begun."""
        return len(self._complete) - self._started_chunks

    @property
    def newest(self) -> tuple[Frame, ...]:
        """The newest frames, at most `recent_frames`, oldest first, all of one size.

        None from before a restart.
        """
        return tuple(self._newest)

    @property
    def has_part(self) -> bool:
        """Return True if `next_part` returns a part."""
        return bool(self._complete) or self._open_frames_due > self._frames_handed_out

    def jumped_back(self, stamp_ns: int) -> bool:
        """Return True for a stamp a chunk or more behind the newest: `restart` first."""
        return self._chunker.jumped_back(stamp_ns)

    def wants(self, stamp_ns: int) -> SampleResult:
        """Return how an arriving frame is used.

        If it is SAMPLED, it is to be decoded and given to `put`, or to `skip` if it can't be used;
        otherwise nothing remains to be done.
        """
        return self._chunker.wants(stamp_ns)

    def put(self, frame: Frame, *, now_ns: int) -> SampleResult:
        """Add a frame that arrived at `now_ns`, on a clock that need not be the sensor's.

        A time of 0 means that the clock has not started, like simulated time before its first
        message.

        Raises:
            BadImageError: its size differs from that of its chunk's first frame. Nothing has
                changed.
        """
        if self.wants(frame.stamp_ns) is SampleResult.SAMPLED:
            self._check_size(frame)
        result, done = self._chunker.offer(frame.stamp_ns, frame)
        if result is SampleResult.SAMPLED:
            self._remember(frame)
            self._advance(frame.stamp_ns, done, now_ns=now_ns)
        return result

    def skip(self, stamp_ns: int, *, now_ns: int) -> SampleResult:
        """Skip a frame that can't be used, so that its chunk does not wait for another."""
        result, done = self._chunker.skip(stamp_ns)
        if result is SampleResult.SAMPLED:
            self._advance(stamp_ns, done, now_ns=now_ns)
        return result

    def expire(self, now_ns: int) -> None:
        """Close the open chunk if its end is past, as `put`'s clock runs: the camera stopped."""
        # For a frame from before the clock started, the timeout starts with the clock.
        self._since_ns = self._since_ns or now_ns
        if self._timeout_ns is not None and now_ns - self._since_ns >= self._timeout_ns:
            self._timeout_ns = None
            self._enqueue(self._chunker.close())

    def next_part(self) -> ChunkPart | None:
        """Hand out all frames of the oldest chunk that are due; None if there are none.

        An open chunk begins when `part_frames` of its frames are there.
        """
        if not self.has_part:
            return None
        last = bool(self._complete)
        chunk = self._complete.popleft() if last else self._chunker.open_chunk
        assert chunk
        begin, end = self._frames_handed_out, len(chunk.frames) if last else self._open_frames_due
        frames = tuple(frame for _, frame in chunk.frames[begin:end])
        dropped = 0
        if not begin:
            dropped, self._dropped = self._dropped, 0
        self._frames_handed_out = 0 if last else end
        return ChunkPart(frames, chunk.start_ns, chunk.end_ns, last, dropped)

    def drop_started(self) -> None:
        """Drop the rest of a chunk that was partly handed out, because those parts were lost."""
        if not self._frames_handed_out:
            return
        if not self._complete:
            self._complete += self._chunker.close()
            self._timeout_ns = None
        self._dropped += len(self._complete.popleft().frames) - self._frames_handed_out
        self._frames_handed_out = 0

    def restart(self) -> None:
        """Drop every frame, and start again with the next."""
        waiting = [*self._complete, *self._chunker.close()]
        self._dropped += sum(len(chunk.frames) for chunk in waiting) - self._frames_handed_out
        self._frames_handed_out = 0
        self._complete.clear()
        self._newest.clear()
        self._chunker = Chunker(self._config)
        self._timeout_ns = None

    @property
    def _started_chunks(self) -> int:
        """Complete chunks that have begun: at most one, the oldest."""
        return int(bool(self._complete and self._frames_handed_out))

    @property
    def _open_frames_due(self) -> int:
        """Frames of the open chunk that need not wait for the next."""
        chunk = self._chunker.open_chunk
        return len(chunk.frames) // self._part_frames * self._part_frames if chunk else 0

    def _check_size(self, frame: Frame) -> None:
        chunk = self._chunker.open_chunk
        if chunk is None or frame.stamp_ns >= chunk.end_ns:
            return
        (height, width, _), (first_height, first_width, _) = (
            frame.image.shape,
            chunk.frames[0][1].image.shape,
        )
        if (height, width) != (first_height, first_width):
            raise BadImageError(
                "changed",
                f"the images' size changed from {first_width}x{first_height} px to "
                f"{width}x{height} within a chunk",
            )

    def _remember(self, frame: Frame) -> None:
        if self._newest and self._newest[-1].image.shape != frame.image.shape:
            self._newest.clear()
        self._newest.append(frame)

    def _advance(self, stamp_ns: int, done: list[RawChunk[Frame]], *, now_ns: int) -> None:
        self._enqueue(done)
        chunk = self._chunker.open_chunk
        self._timeout_ns = chunk.end_ns - stamp_ns + GRACE_NS if chunk else None
        self._since_ns = now_ns

    def _enqueue(self, chunks: list[RawChunk[Frame]]) -> None:
        self._complete += chunks
        while self.backlog > self._config.backlog_chunks:
            oldest = self._started_chunks
            self._dropped += len(self._complete[oldest].frames)
            del self._complete[oldest]
