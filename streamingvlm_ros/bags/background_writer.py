"""A bag that is being recorded: a thread writes it, so that nobody else waits for the disk."""

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
"""How often everything is handed to the system. Writing takes time, too: a second is promised."""

_BATCH_BYTES = 4 * 2**20
"""What is written before the clock and the disk are looked at again; a large image is a batch."""

_CLOSE_S = 60.0


class BackgroundWriter:
    """Takes messages from any thread, and writes them in the order in which they came.

    What is too much for the disk is dropped and counted. Where the disk or the quota has no more
    room, recording stops: the bag holds what was flushed, `problem` says why, and what still comes
    counts as dropped.
    """

    def __init__(
        self,
        bag: BagWriter,
        quota: Quota,
        max_queued_bytes: int,
        first: Iterable[BagMessage] = (),
        begin: Callable[[], None] = lambda: None,
        then: Callable[[BackgroundWriter], None] = lambda writer: None,
    ) -> None:
        """Owns the bag from now on. `first` is written first and always has room to wait.

        From the thread, `begin` is called before anything is written, and `then`, with this, at
        the very end.
        """
        self.written: Counter[str] = Counter()
        """Messages that were written, by topic."""
        self.dropped: Counter[str] = Counter()
        """Messages that were not."""
        self.problem = ""
        """Why recording stopped before its end; empty if it did not."""
        self.bag_removed = False
        """Whether that was because somebody took the bag, or a file of it, away."""
        self.folder = bag.folder
        self.size_bytes = 0
        """The bag's size when it was last flushed."""
        self._bag, self._quota, self._then = bag, quota, then
        self._begin = begin
        self._most_waiting_bytes = max_queued_bytes
        self._waiting = deque(first)
        self._waiting_bytes = 0
        self._first = len(self._waiting)
        self._unflushed: Counter[str] = Counter()
        self._unflushed_bytes, self._flush_due_s = 0, 0.0
        self._closing = self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="bag", daemon=True)
        self._thread.start()

    def put(self, recorded: BagMessage) -> None:
        """Have a message written. Never waits."""
        with self._changed:
            size = len(recorded.data)
            too_much = self._waiting_bytes + size > self._most_waiting_bytes
            if self._closing or self._ended or too_much:
                self.dropped[recorded.topic.name] += 1
                return
            self._waiting.append(recorded)
            self._waiting_bytes += size
            self._changed.notify_all()

    def end(self) -> None:
        """Take no more; the bag is finished when what waits is written. Does not wait for it."""
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
        """Whether the bag is finished, and what comes then is done."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with locked_folder(self.folder):
                self._begin()
                self._serve()
                self._bag.close()
                self.size_bytes = self._bag.size_bytes
        # Whatever it is, the node must live, and what was flushed must stay.
        except Exception as error:
            self.bag_removed = isinstance(error, FileNotFoundError)
            self.problem = self._why_gone() if self.bag_removed else self._why(error)
            self._bag.abandon()
            self.written -= self._unflushed
            self._drop(self._unflushed)
        finally:
            self._drop_waiting()
            self._then(self)

    def _why(self, error: Exception) -> str:
        why = getattr(error, "strerror", None) or repr(error)
        return (
            f"{self.folder} can't be written: {why}. What was written before is kept; mend it and "
            "start the recorder again"
        )

    def _why_gone(self) -> str:
        what = f"a file of {self.folder}" if self.folder.exists() else str(self.folder)
        return (
            f"{what} is gone: somebody deleted or moved it while it was written. Start the "
            "recorder again"
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
        """Until there is something to write or to flush; False at the end."""
        with self._changed:
            patience_s = None
            if self._unflushed:
                patience_s = max(0.0, self._flush_due_s - time.monotonic())
            self._changed.wait_for(lambda: self._waiting or self._closing, patience_s)
            return bool(self._waiting) or not self._closing

    def _batch(self) -> list[BagMessage]:
        """Some of what waits; nothing if only a flush is due."""
        batch: list[BagMessage] = []
        size = 0
        with self._changed:
            while self._waiting and size < _BATCH_BYTES:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].data)
                if self._first:
                    self._first -= 1
                else:
                    self._waiting_bytes -= len(batch[-1].data)
        return batch

    def _write(self, batch: list[BagMessage]) -> None:
        names, size = _names(batch), sum(len(recorded.data) for recorded in batch)
        try:
            # What was written may not have reached the disk yet.
            self._quota.check_disk(self._unflushed_bytes + size)
        except (BagError, OSError):
            self._drop(names)
            raise
        if batch and not self._unflushed:
            self._flush_due_s = time.monotonic() + _FLUSH_S
        self._unflushed.update(names)
        self._unflushed_bytes += size
        self.written.update(names)
        for recorded in batch:
            self._bag.write(recorded.topic, recorded.stamp_ns, recorded.data)

    def _flush(self) -> None:
        self._bag.flush()
        self._unflushed, self._unflushed_bytes = Counter(), 0
        self.size_bytes = self._bag.size_bytes
        self._quota.trim(self._bag)

    def _drop_waiting(self) -> None:
        """From now on nothing waits, and nothing takes memory."""
        with self._changed:
            self._ended = True
            self.dropped.update(_names(self._waiting))
            self._waiting.clear()
            self._waiting_bytes = self._first = 0

    def _drop(self, names: Counter[str]) -> None:
        with self._changed:
            self.dropped.update(names)


def _names(messages: Iterable[BagMessage]) -> Counter[str]:
    return Counter(recorded.topic.name for recorded in messages)
