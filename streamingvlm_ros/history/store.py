"""The history: narrations, answers and pictures in a folder on disk."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from ..errors import HistoryError
from ..file_lock import lock_file
from ..types import Frame, HistoryMoment
from .config import HistoryConfig
from .database import open_database
from .private_files import DATABASE_FILE, LOCK_FILE, restrict_access
from .reader import HistoryReader
from .types import Entry
from .writer import HistoryWriter


class History:
    """Stores entries and pictures across restarts, within an age and a size. Thread-safe.

    Flushed entries survive a killed process; a power cut may lose the newest minutes, but never
    older entries. The files exceed `history_megabytes` by at most `quota.MARGIN_BYTES`.
    """

    def __init__(self, folder: Path, config: HistoryConfig) -> None:
        """Open the history in `folder`, or create one.

        Raises:
            HistoryError: The folder or the file can't be used, or another process uses it.
        """
        self._lock = lock_folder(folder)
        try:
            writing, reading = open_database(folder / DATABASE_FILE)
        except HistoryError:
            self._lock.close()
            raise
        self._writer = HistoryWriter(writing, folder / DATABASE_FILE, config=config)
        self._reader = HistoryReader(reading)

    @property
    def lost(self) -> int:
        """Number of entries and pictures that were not stored.

        The disk was too slow or refused them, or the file was removed.
        """
        return self._writer.lost

    @property
    def failure(self) -> str:
        """Reason why writing fails at present; empty if it works."""
        return self._writer.failure

    def add(self, entry: Entry, frame: Frame | None = None) -> None:
        """Queue an entry for writing. Never waits for the disk.

        `frame` is the newest frame of a narration; it is stored if a picture is due, also when the
        narration is silent. An entry without text is not stored itself.
        """
        self._writer.put(entry, frame)

    def entries(
        self,
        since_ns: int | None = None,
        until_ns: int | None = None,
        *,
        words: str = "",
        limit: int = 100,
    ) -> tuple[list[Entry], bool]:
        """Return at most `limit` entries in the order of arrival, and whether there are more.

        The entries end after `since_ns` and start before `until_ns`, in sensor time. Without
        `words`, or with only white space, they are the newest; otherwise those whose text or
        question holds the most telling of the words.

        Raises:
            HistoryError: The history can't be read.
        """
        return self._reader.entries(since_ns, until_ns, words=words, limit=limit)

    def moments(self, question: str, count: int) -> list[HistoryMoment]:
        """Return at most `count` moments that may answer a question, oldest first.

        See `moments.best_pictures`. A moment's text is the narration of its own second, or else
        the one for which it was chosen. The list is empty if no picture is stored.

        Raises:
            HistoryError: The history can't be read.
        """
        return self._reader.moments(question, count)

    def flush(self) -> None:
        """Wait until all entries added so far are written or lost."""
        self._writer.flush()

    def close(self) -> None:
        """Write the queue, and close. Entries added later are lost."""
        ended = self._writer.close()
        self._reader.close()
        if ended:
            self._lock.close()


def lock_folder(folder: Path) -> IO[str]:
    """Create the folder and lock it until the returned file is closed or the process ends.

    Only the owner can read what is in it.

    Raises:
        HistoryError: The folder can't be used, or another holder has the lock.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / LOCK_FILE).open("a")
        try:
            # Not the database itself: SQLite has its own locks on that.
            if lock_file(lock, wait=False):
                restrict_access(folder)
                return lock
        except OSError:
            lock.close()
            raise
    except OSError as error:
        raise HistoryError(
            f"no history can be kept in {folder} ({error.strerror}): "
            "choose a writable folder on a local disk"
        ) from error
    lock.close()
    raise HistoryError(
        f"the history in {folder} is in use by another narrator: give each its own folder"
    )
