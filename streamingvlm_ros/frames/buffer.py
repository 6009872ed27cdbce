"""Between the thread that receives frames and the one that narrates: bounded, newest first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from ..config import FrameConfig
from ..types import NS_PER_S
from .sampler import RawChunk, Sampler, Verdict

T = TypeVar("T")
R = TypeVar("R")

GRACE_NS = NS_PER_S // 2
"""How long after its end an incomplete chunk is closed: longer than frames are under way."""


class FrameBuffer(Generic[T, R]):
    """Takes in frames (payload `T`) and requests (`R`); hands out chunks, and requests together.

    Neither `put` nor `post` ever waits for the reader. At most `backlog_chunks` chunks wait: an
    older one is thrown away, and the next chunk says in `dropped` how many frames that cost.
    Requests are handed out first, as many together as `at_once` allows, and then a chunk that
    waits: however many ask, narration goes on. Every sampled frame is handed out or counted, once,
    except those of the chunk that is still open. Safe between threads.
    """

    def __init__(
        self, config: FrameConfig, on_jump: Callable[[], R], at_once: int = 1, keep: int = 0
    ) -> None:
        """`on_jump` makes the request that is handed out when the sensor's clock was set back.

        `keep` frames are kept for `newest`.
        """
        self._config = config
        self._on_jump = on_jump
        self._at_once = at_once
        self._sampler: Sampler[T] = Sampler(config)
        self._chunks: deque[RawChunk[T]] = deque()
        self._newest: deque[tuple[int, T]] = deque(maxlen=keep)
        self._requests: deque[R] = deque()
        self._began_anew: R | None = None
        self._chunks_turn = False
        self._dropped = 0
        self._patience_ns: int | None = None
        self._since_ns = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def backlog(self) -> int:
        """Complete chunks that wait."""
        return len(self._chunks)

    def newest(self) -> list[tuple[int, T]]:
        """The newest sampled frames, at most `keep`, oldest first; none from before a restart."""
        with self._changed:
            return list(self._newest)

    def put(self, stamp_ns: int, payload: T, now_ns: int) -> Verdict:
        """Take in a frame that arrives at `now_ns`, on a clock that need not be the sensor's.

        0 is a clock that has not begun, as simulated time before its first message.
        A stamp a chunk or more behind the newest is a clock set back: what waits is thrown away,
        `on_jump`'s request is handed out, and chunks begin anew with this frame.
        """
        with self._changed:
            if self._sampler.jumped_back(stamp_ns):
                self._restart(self._on_jump())
            verdict, done = self._sampler.offer(stamp_ns, payload)
            if verdict is Verdict.SAMPLED:
                self._newest.append((stamp_ns, payload))
                self._keep(done)
                self._patience_ns, self._since_ns = self._patience(stamp_ns), now_ns
            return verdict

    def expire(self, now_ns: int) -> None:
        """Close the open chunk if its end is past, as `put`'s clock runs: the camera stopped."""
        with self._changed:
            # Of a frame from before the clock began, patience begins with the clock.
            self._since_ns = self._since_ns or now_ns
            if self._patience_ns is not None and now_ns - self._since_ns >= self._patience_ns:
                self._patience_ns = None
                self._keep(self._sampler.close())

    def post(self, request: R) -> bool:
        """Hand out `request` as soon as the reader asks. False, and not taken, if closed."""
        with self._changed:
            if not self._closed:
                self._requests.append(request)
                self._changed.notify()
            return not self._closed

    def withdraw(self, request: R) -> None:
        """Don't hand out `request`, if that has not happened yet."""
        with self._changed:
            if request in self._requests:
                self._requests.remove(request)

    def restart(self, request: R) -> bool:
        """Throw away every frame, begin anew with the next, and `post` the request."""
        with self._changed:
            if not self._closed:
                self._restart(request)
            return not self._closed

    def close(self) -> list[R]:
        """End the reader's iteration. Returns the requests that nobody will serve."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            left = list(self._requests)
            self._requests.clear()
            return left

    def __iter__(self) -> Iterator[RawChunk[T] | tuple[R, ...]]:
        """What is to be done next, waiting for it without polling, until `close`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._requests or self._chunks)
                if self._closed:
                    return
                event = self._next()
            yield event

    def interjected(self) -> tuple[R, ...]:
        """Requests that need not wait until the reader is done with its chunk: once per chunk.

        None that was to begin anew is among them, and none that came before it.
        """
        with self._changed:
            return () if self._chunks_turn or self._begins_anew() else self._batch()

    def _next(self) -> RawChunk[T] | tuple[R, ...]:
        chunk_is_due = self._chunks_turn and not self._begins_anew()
        if self._chunks and (chunk_is_due or not self._requests):
            self._chunks_turn = False
            return self._chunks.popleft()
        return self._batch()

    def _begins_anew(self) -> bool:
        """The chunks that wait are of what comes after a request that waits, too."""
        return self._began_anew in self._requests

    def _batch(self) -> tuple[R, ...]:
        self._chunks_turn = bool(self._requests)
        count = min(len(self._requests), self._at_once)
        return tuple(self._requests.popleft() for _ in range(count))

    def _patience(self, stamp_ns: int) -> int | None:
        """How long to wait for the open chunk's next frame; None if no chunk is open."""
        end_ns = self._sampler.open_until_ns
        return None if end_ns is None else end_ns - stamp_ns + GRACE_NS

    def _restart(self, request: R) -> None:
        self._dropped += sum(chunk.dropped + len(chunk.frames) for chunk in self._chunks)
        self._dropped += self._sampler.open_frames
        self._chunks.clear()
        self._newest.clear()
        self._sampler = Sampler(self._config)
        self._patience_ns = None
        self._requests.append(request)
        self._began_anew = request
        self._changed.notify()

    def _keep(self, chunks: list[RawChunk[T]]) -> None:
        for chunk in chunks:
            self._chunks.append(replace(chunk, dropped=self._dropped))
            self._dropped = 0
        while len(self._chunks) > self._config.backlog_chunks:
            oldest = self._chunks.popleft()
            lost = oldest.dropped + len(oldest.frames)
            self._chunks[0] = replace(self._chunks[0], dropped=self._chunks[0].dropped + lost)
        self._changed.notify()
