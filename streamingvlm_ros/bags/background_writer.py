"""Writing a bag in a thread of its own, so that no caller waits for the disk."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable

from ..errors import BagError
from .quota import Quota, locked_folder
from .types import BagMessage
from .writer import BagWriter

_FLUSH_S = 0.4
"""Interval of flushes to the operating system. With the time of writing it stays below the
promised second."""

_BATCH_BYTES = 4 * 2**20
"""Bytes written before the clock and the free space are checked again. A large image is a batch."""

_CLOSE_S = 60.0


class BackgroundWriter:
    """Takes messages from any thread, and writes them in the order of their arrival.

    Messages beyond what the queue holds are dropped and counted. When the disk or the quota has no
    more room, recording stops: the bag keeps what was flushed, `problem` holds the reason, and
    later messages count as dropped.
    """

    def __init__(
        self,
        bag: BagWriter,
        quota: Quota,
        *,
        max_queued_bytes: int,
        first: Iterable[BagMessage] = (),
        on_start: Callable[[], None] = lambda: None,
        on_end: Callable[[BackgroundWriter], None] = lambda writer: None,
    ) -> None:
        """Take over the bag. `first` is written first, and queued whatever its size.

        The writing thread calls `on_start` before it writes anything, and `on_end`, with this
        writer, at the very end.
        """
        self.written: Counter[str] = Counter()
        """Written messages, by topic."""
        self.dropped: Counter[str] = Counter()
        """Messages that were not written, by topic."""
        self.problem = ""
        """Why recording stopped early; empty if it did not."""
        self.bag_removed = False
        """True if recording stopped because the bag, or a file of it, was deleted or moved."""
        self.folder = bag.folder
        self.size_bytes = 0
        """Size of the bag at the last flush."""
        self._bag, self._quota = bag, quota
        self._on_start, self._on_end = on_start, on_end
        self._max_queued_bytes = max_queued_bytes
        self._queue = deque(first)
        self._queued_bytes = 0
        self._first = len(self._queue)
        self._unflushed: Counter[str] = Counter()
        self._unflushed_bytes, self._flush_due_s = 0, 0.0
        self._closing = self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="bag", daemon=True)
        self._thread.start()

    def put(self, message: BagMessage) -> None:
        """Queue a message, or drop it. Never waits."""
        with self._changed:
            size = len(message.data)
            is_full = self._queued_bytes + size > self._max_queued_bytes
            if self._closing or self._ended or is_full:
                self.dropped[message.topic.name] += 1
                return
            self._queue.append(message)
            self._queued_bytes += size
            self._changed.notify_all()

    def end(self) -> None:
        """Accept no more messages; the bag is finished once the queue is written. Never waits."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self) -> bool:
        """End, and wait until the bag is finished. False if the disk hangs."""
        self.end()
        self._thread.join(_CLOSE_S)
        return not self._thread.is_alive()

    @property
    def is_closed(self) -> bool:
        """True when the bag is finished and `on_end` has returned."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with locked_folder(self.folder):
                self._on_start()
                self._serve()
                self._bag.close()
                self.size_bytes = self._bag.size_bytes
        # Any error: the node must live on, and what was flushed must stay.
        except Exception as error:
            self.bag_removed = isinstance(error, FileNotFoundError)
            self.problem = self._removal() if self.bag_removed else self._failure(error)
            self._bag.abandon()
            self.written -= self._unflushed
            self._drop(self._unflushed)
        finally:
            self._drop_queue()
            self._on_end(self)

    def _failure(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or repr(error)
        return (
            f"{self.folder} can't be written: {reason}. Everything written before is kept; fix "
            "the cause and start the recorder again"
        )

    def _removal(self) -> str:
        missing = f"a file of {self.folder}" if self.folder.exists() else str(self.folder)
        return (
            f"{missing} is gone: it was deleted or moved during recording. Start the recorder again"
        )

    def _serve(self) -> None:
        """Write until the end, or until there is no more room."""
        try:
            while self._wait():
                self._write(self._batch())
                if self._unflushed and time.monotonic() >= self._flush_due_s:
                    self._flush()
        except BagError as error:
            self.problem = str(error)

    def _wait(self) -> bool:
        """Wait until there is something to write or to flush; return False at the end."""
        with self._changed:
            timeout_s = None
            if self._unflushed:
                timeout_s = max(0.0, self._flush_due_s - time.monotonic())
            self._changed.wait_for(lambda: self._queue or self._closing, timeout_s)
            return bool(self._queue) or not self._closing

    def _batch(self) -> list[BagMessage]:
        """Take some messages from the queue; none if only a flush is due."""
        batch: list[BagMessage] = []
        size = 0
        with self._changed:
            while self._queue and size < _BATCH_BYTES:
                batch.append(self._queue.popleft())
                size += len(batch[-1].data)
                if self._first:
                    self._first -= 1
                else:
                    self._queued_bytes -= len(batch[-1].data)
        return batch

    def _write(self, batch: list[BagMessage]) -> None:
        counts, size = _count_by_topic(batch), sum(len(message.data) for message in batch)
        try:
            # Unflushed bytes don't show in the free space yet.
            self._quota.check_disk(self._unflushed_bytes + size)
        except (BagError, OSError):
            self._drop(counts)
            raise
        if batch and not self._unflushed:
            self._flush_due_s = time.monotonic() + _FLUSH_S
        self._unflushed.update(counts)
        self._unflushed_bytes += size
        self.written.update(counts)
        for message in batch:
            self._bag.write(message.topic, message.stamp_ns, data=message.data)

    def _flush(self) -> None:
        self._bag.flush()
        self._unflushed, self._unflushed_bytes = Counter(), 0
        self.size_bytes = self._bag.size_bytes
        self._quota.trim(self._bag)

    def _drop_queue(self) -> None:
        """Empty the queue for good, and release its memory."""
        with self._changed:
            self._ended = True
            self.dropped.update(_count_by_topic(self._queue))
            self._queue.clear()
            self._queued_bytes = self._first = 0

    def _drop(self, counts: Counter[str]) -> None:
        with self._changed:
            self.dropped.update(counts)


def _count_by_topic(messages: Iterable[BagMessage]) -> Counter[str]:
    return Counter(message.topic.name for message in messages)
