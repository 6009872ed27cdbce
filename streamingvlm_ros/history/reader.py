"""Reading the history while it is being written."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import HistoryError
from ..types import Frame, HistoryMoment
from .database import READ_ERRORS, checked_row
from .moments import best_pictures
from .pictures import decode_jpeg
from .search import OVERLAPS, content_words, rank_entries
from .types import Entry, StoredPicture

_FOREVER = 2**63 - 1


class HistoryReader:
    """Reads consistent states of the database, from any thread."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Take over the database."""
        self._database = database
        self._lock = threading.Lock()

    def entries(
        self, since_ns: int | None, until_ns: int | None, *, words: str, limit: int
    ) -> tuple[list[Entry], bool]:
        """See History.entries."""
        since = -_FOREVER if since_ns is None else since_ns
        times = (since, _FOREVER if until_ns is None else until_ns)
        with self._snapshot() as database:
            if words.strip():
                between_ns = None if since_ns is until_ns is None else times
                ids, _ = rank_entries(database, content_words(words), between_ns=between_ns)
                numbers = ids[: limit + 1].tolist()
            else:
                query = f"SELECT id FROM entry WHERE {OVERLAPS} ORDER BY id DESC LIMIT ?"
                rows = database.execute(query, [*times, limit + 1])
                numbers = [checked_row(row, int)[0] for row in rows]
            entries = [_entry(database, number) for number in sorted(numbers[:limit])]
        return entries, len(numbers) > limit

    def moments(self, question: str, count: int) -> list[HistoryMoment]:
        """See History.moments."""
        with self._snapshot() as database:
            rows = [
                _picture_row(database, picture)
                for picture in best_pictures(database, question, count=count)
            ]
        return [
            HistoryMoment(Frame(decode_jpeg(jpeg), stamp_ns, frame_id), start_ns, end_ns, text)
            for stamp_ns, frame_id, start_ns, end_ns, text, jpeg in rows
        ]

    def close(self) -> None:
        """Close after the current read. Later reads raise a HistoryError."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """Yield the database in its present state, unaffected by concurrent writes."""
        try:
            with self._lock:
                self._database.execute("BEGIN")
                try:
                    yield self._database
                finally:
                    self._database.rollback()
        except READ_ERRORS as error:
            raise HistoryError(
                f"the history can't be read ({error}): if this persists, move its folder away and "
                "restart the node to start a new one"
            ) from error


def _entry(database: sqlite3.Connection, number: int) -> Entry:
    query = "SELECT text, start_ns, end_ns, question, camera FROM entry WHERE id = ?"
    return Entry(
        *checked_row(database.execute(query, [number]).fetchone(), str, int, int, str, str)
    )


def _picture_row(
    database: sqlite3.Connection, picture: StoredPicture
) -> tuple[int, str, int, int, str, bytes]:
    """Return a picture with its times and the narration of its second, or else `picture.text`."""
    row = database.execute(
        "SELECT stamp_ns, frame_id, picture.start_ns, picture.end_ns, coalesce(text, ?), jpeg "
        "FROM picture LEFT JOIN entry USING (id) WHERE id = ?",
        [picture.text, picture.number],
    ).fetchone()
    return checked_row(row, int, str, int, int, str, bytes)
