"""The thread that writes the history, so that nobody else waits for the disk."""

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
"""Most entries that wait for the disk."""
MAX_QUEUED_PICTURE_BYTES = 128_000_000
"""Most bytes of pictures, not yet encoded, that wait for the disk."""

_AT_ONCE = 16
_IDLE_S = 600.0
_CLOSE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Row:
    """What `put` was given. `number` counts the calls, over all processes."""

    number: int
    run: int
    entry: Entry
    frame: Frame | None


class HistoryWriter:
    """Takes entries from any thread, and writes them in the order in which they came.

    `lost` counts entries and pictures that were not kept, because the disk was too slow or
    refused them, or because the file is gone. `failed` says why writing or dropping failed last;
    it is empty once that works.
    """

    def __init__(self, database: sqlite3.Connection, path: Path, config: HistoryConfig) -> None:
        """Owns the database, which is the file at `path`, from now on, and closes it in the end."""
        self.lost = 0
        self.failure = ""
        # A process may change its working directory.
        self._path, self._file = path.absolute(), path.stat()
        self._database, self._config = database, config
        self._number = newest_number(database)
        self._timeline = Timeline(config.history_picture_seconds)
        self._waiting: deque[_Row] = deque()
        self._waiting_bytes = 0
        self._put = self._done = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def put(self, entry: Entry, frame: Frame | None) -> None:
        """Have it written, with its picture if one is due. Never waits."""
        with self._changed:
            self._number += 1
            run = self._timeline.run(entry, self._number)
            picture = self._picture(entry, frame)
            if not entry.text and picture is None:
                return
            if self._closing or len(self._waiting) >= MAX_QUEUED_ENTRIES:
                self.lost += 1
                return
            if picture is not None:
                self._timeline.pictured(entry)
                self._waiting_bytes += picture.image.nbytes
            self._waiting.append(_Row(self._number, run, entry, picture))
            self._put += 1
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything that was put so far is written or lost."""
        with self._changed:
            until = self._put
            self._changed.wait_for(lambda: self._done >= until)

    def close(self) -> bool:
        """Write what waits, and end. False if the disk hangs: it is waited for only so long."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_S)
        return not self._thread.is_alive()

    def _picture(self, entry: Entry, frame: Frame | None) -> Frame | None:
        """The frame, if it is time for a picture and there is room for it."""
        if frame is None or entry.question or not self._timeline.picture_due(entry):
            return None
        if self._waiting_bytes + frame.image.nbytes > MAX_QUEUED_PICTURE_BYTES:
            self.lost += 1
            return None
        return frame

    def _run(self) -> None:
        while (rows := self._next()) is not None:
            self._serve(rows)
            with self._changed:
                self._done += len(rows)
                self._changed.notify_all()
        self._database.close()

    def _next(self) -> list[_Row] | None:
        """Some of what waits; nothing once in a while when nothing comes; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing, _IDLE_S)
            if self._closing and not self._waiting:
                return None
            rows = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            self._waiting_bytes -= sum(row.frame.image.nbytes for row in rows if row.frame)
            return rows

    def _serve(self, rows: list[_Row]) -> None:
        unwritten = len(rows)
        try:
            self._check_place()
            self._write(rows)
            unwritten = 0
            trim(self._database, self._config, time.time())
            self.failure = ""
        # Whatever it is: without this thread nothing would be kept any more, and nobody told.
        except Exception as error:
            with self._changed:
                self.lost += unwritten
            self.failure = str(error) or repr(error)

    def _check_place(self) -> None:
        """HistoryError if the file that is open is no longer the one that will be found again."""
        try:
            stays = samestat(self._path.stat(), self._file)
        # A part of the path may be a file by now.
        except (FileNotFoundError, NotADirectoryError):
            stays = False
        if not stays:
            # SQLite would go on with the file that has no name, and so lose it all in the end.
            raise HistoryError(
                f"the history at {self._path} was removed or moved: restart the node, and a new "
                "one is begun"
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
