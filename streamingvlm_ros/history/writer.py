"""Writing the history in a thread of its own, so that no caller waits for the disk."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from dataclasses import dataclass
from os.path import samestat
from pathlib import Path

from ..errors import HistoryError
from ..types import Frame
from .config import HistoryConfig
from .database import newest_number, transaction
from .pictures import encode_jpeg
from .quota import trim
from .timeline import Timeline
from .types import Entry

MAX_QUEUED_ENTRIES = 1000
"""Limit of entries in the queue."""
MAX_QUEUED_PICTURE_BYTES = 128_000_000
"""Limit of bytes of pictures in the queue, not yet encoded."""

_BATCH_ROWS = 16
_IDLE_S = 600.0
_CLOSE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry in the queue. `number` counts the calls of `put`, over all processes."""

    number: int
    run: int
    entry: Entry
    frame: Frame | None


class HistoryWriter:
    """Takes entries from any thread, and writes them in the order of arrival.

    `lost` counts entries and pictures that were not stored, because the disk was too slow or
    refused them, or because the file was removed. `failure` is the reason why the last write or
    deletion failed; it is empty once they work again.
    """

    def __init__(self, database: sqlite3.Connection, path: Path, *, config: HistoryConfig) -> None:
        """Take over the database, which is the file at `path`, and close it at the end."""
        self.lost = 0
        self.failure = ""
        # Absolute: the process may change its working directory.
        self._path, self._file = path.absolute(), path.stat()
        self._database, self._config = database, config
        self._number = newest_number(database)
        self._timeline = Timeline(config.history_picture_seconds)
        self._queue: deque[_Row] = deque()
        self._queued_bytes = 0
        self._put_count = self._done_count = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def put(self, entry: Entry, frame: Frame | None) -> None:
        """Queue an entry, with its picture if one is due. Never waits."""
        with self._changed:
            self._number += 1
            run = self._timeline.run(entry, self._number)
            picture = self._picture(entry, frame)
            if not entry.text and picture is None:
                return
            if self._closing or len(self._queue) >= MAX_QUEUED_ENTRIES:
                self.lost += 1
                return
            if picture is not None:
                self._timeline.note_picture(entry)
                self._queued_bytes += picture.image.nbytes
            self._queue.append(_Row(self._number, run, entry, picture))
            self._put_count += 1
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all entries put so far are written or lost."""
        with self._changed:
            target = self._put_count
            self._changed.wait_for(lambda: self._done_count >= target)

    def close(self) -> bool:
        """Write the queue, and end. False if the disk hangs for _CLOSE_S."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_S)
        return not self._thread.is_alive()

    def _picture(self, entry: Entry, frame: Frame | None) -> Frame | None:
        """Return the frame if a picture is due and the queue has room for it."""
        if frame is None or entry.question or not self._timeline.picture_due(entry):
            return None
        if self._queued_bytes + frame.image.nbytes > MAX_QUEUED_PICTURE_BYTES:
            self.lost += 1
            return None
        return frame

    def _run(self) -> None:
        while (rows := self._next()) is not None:
            self._serve(rows)
            with self._changed:
                self._done_count += len(rows)
                self._changed.notify_all()
        self._database.close()

    def _next(self) -> list[_Row] | None:
        """Return the next rows; none after _IDLE_S without entries; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing, _IDLE_S)
            if self._closing and not self._queue:
                return None
            rows = [self._queue.popleft() for _ in range(min(_BATCH_ROWS, len(self._queue)))]
            self._queued_bytes -= sum(row.frame.image.nbytes for row in rows if row.frame)
            return rows

    def _serve(self, rows: list[_Row]) -> None:
        unwritten = len(rows)
        try:
            self._check_file()
            self._write(rows)
            unwritten = 0
            trim(self._database, self._config, now_s=time.time())
            self.failure = ""
        # Any error: without this thread nothing would be stored or reported any more.
        except Exception as error:
            with self._changed:
                self.lost += unwritten
            self.failure = str(error) or repr(error)

    def _check_file(self) -> None:
        """Raise HistoryError if the open file is no longer the one at the path."""
        try:
            is_same = samestat(self._path.stat(), self._file)
        # A part of the path may be a file by now.
        except (FileNotFoundError, NotADirectoryError):
            is_same = False
        if not is_same:
            # SQLite would go on with the unlinked file, and lose it all at the end.
            raise HistoryError(
                f"the history at {self._path} was removed or moved: restart the node to start "
                "a new one"
            )

    def _write(self, rows: list[_Row]) -> None:
        now_s = time.time()
        texts = [
            (r.number, r.run, e.start_ns, e.end_ns, e.text, e.question, e.camera, now_s)
            for r in rows
            if (e := r.entry).text
        ]
        pictures = [
            (r.number, r.run, r.entry.start_ns, r.entry.end_ns, f.stamp_ns, f.frame_id, now_s,
             encode_jpeg(f.image, self._config.history_picture_px))
            for r in rows
            if (f := r.frame)
        ]  # fmt: skip
        with transaction(self._database):
            self._database.executemany("INSERT INTO entry VALUES (?,?,?,?,?,?,?,?)", texts)
            self._database.executemany("INSERT INTO picture VALUES (?,?,?,?,?,?,?,?)", pictures)
