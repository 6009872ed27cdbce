"""Queue of a live node's worker: chunk parts of all cameras, and requests."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping

from .frames.chunk_buffer import ChunkBuffer
from .frames.chunker import SampleResult
from .session import PartEvent, Request, RequestEvent, Reset
from .types import Frame


class Inbox:
    """Collects frames and requests from any thread; a single worker takes them out.

    Only `take` waits for other threads.
    """

    def __init__(self, buffers: Mapping[str, ChunkBuffer], on_jump: Callable[[str], Reset]) -> None:
        """Take over the buffers of all cameras; nothing else may use them afterwards.

        `on_jump` is called with a camera whose clock was set back, and returns the request to post.
        """
        self._buffers, self._on_jump = buffers, on_jump
        self._requests: deque[RequestEvent] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def wants(self, camera: str, stamp_ns: int) -> SampleResult:
        """Return how an arriving frame is used; see `ChunkBuffer.wants`.

        A stamp a chunk or more behind the newest means that the clock was set back: the camera is
        restarted with the request from `on_jump`.
        """
        with self._changed:
            buffer = self._buffers[camera]
            if buffer.jumped_back(stamp_ns):
                self.restart(camera, self._on_jump(camera))
            return buffer.wants(stamp_ns)

    def put(self, camera: str, frame: Frame, *, now_ns: int) -> SampleResult:
        """Add a frame for which `wants` returned SAMPLED; see `ChunkBuffer.put`.

        Raises:
            BadImageError: its size differs from that of its chunk's first frame.
        """
        with self._changed:
            result = self._buffers[camera].put(frame, now_ns=now_ns)
            self._changed.notify()
            return result

    def skip(self, camera: str, stamp_ns: int, *, now_ns: int) -> None:
        """Skip a SAMPLED frame that can't be used."""
        with self._changed:
            self._buffers[camera].skip(stamp_ns, now_ns=now_ns)
            self._changed.notify()

    def expire(self, now_ns: int) -> None:
        """Close the open chunk of each camera that stopped; see `ChunkBuffer.expire`."""
        with self._changed:
            for buffer in self._buffers.values():
                buffer.expire(now_ns)
            self._changed.notify()

    def newest(self, camera: str) -> tuple[Frame, ...]:
        """Return the newest frames of a camera, oldest first, all of one size."""
        with self._changed:
            return self._buffers[camera].newest

    def backlog(self, camera: str) -> int:
        """Return the number of complete chunks of a camera that are waiting."""
        with self._changed:
            return self._buffers[camera].backlog

    def post(self, camera: str, request: Request) -> bool:
        """Queue a request for the worker. Return False, without queueing it, if closed."""
        with self._changed:
            if not self._closed:
                self._requests.append(RequestEvent(camera, request))
                self._changed.notify()
            return not self._closed

    def withdraw(self, request: Request) -> None:
        """Remove a request if it has not been handed out yet."""
        with self._changed:
            left = [event for event in self._requests if event.request is not request]
            self._requests = deque(left)

    def restart(self, camera: str, reset: Reset) -> bool:
        """Drop every frame of a camera and post the reset; later frames come after it.

        Return False, without changing anything, if closed.
        """
        with self._changed:
            if not self._closed:
                self._buffers[camera].restart()
            return self.post(camera, reset)

    def drop_started(self) -> None:
        """Drop the rest of each chunk that was partly handed out, because those parts were lost."""
        with self._changed:
            for buffer in self._buffers.values():
                buffer.drop_started()

    def close(self) -> list[Request]:
        """Make `take` return None from now on. Return the requests that will not be served."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            unserved = [event.request for event in self._requests]
            self._requests.clear()
            return unserved

    def take(self, *, wait: bool, ready: Collection[str]) -> list[PartEvent | RequestEvent] | None:
        """Return the next events: all requests in order, then a part of each `ready` camera.

        With `wait`, wait until there is an event; otherwise return at once, possibly an empty list.
        Return None if closed.
        """
        with self._changed:
            buffers = {name: self._buffers[name] for name in self._buffers if name in ready}
            if wait:
                self._changed.wait_for(
                    lambda: (
                        self._closed
                        or self._requests
                        or any(buffer.has_part for buffer in buffers.values())
                    )
                )
            if self._closed:
                return None
            events: list[PartEvent | RequestEvent] = list(self._requests)
            self._requests.clear()
            for camera, buffer in buffers.items():
                if part := buffer.next_part():
                    events.append(PartEvent(camera, part))
            return events
