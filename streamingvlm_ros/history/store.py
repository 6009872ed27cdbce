"""The history: what was said and seen, in a folder on disk."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from ..errors import HistoryError
from ..file_lock import lock_file
from ..types import Frame, HistoryMoment
from .config import HistoryConfig
from .database import open_database
from .reader import HistoryReader
from .types import Entry
from .writer import HistoryWriter

DATABASE_FILE = "history.sqlite"
"""Name of the database in the folder."""


class History:
    """Keeps entries and pictures across restarts, within an age and a size. Safe between threads.

    What was flushed survives the end of the process by any means; the loss of power may cost the
    newest minutes, never what is older. Files are larger than `history_megabytes` by at most
    `quota.MARGIN_BYTES`.
    """

    def __init__(self, folder: Path, config: HistoryConfig) -> None:
        """Open the history in `folder`, or begin one.

        HistoryError if the folder or the file can't be used, or is in use by another process.
        """
        self._lock = lock_folder(folder)
        try:
            writing, reading = open_database(folder / DATABASE_FILE)
        except HistoryError:
            self._lock.close()
            raise
        self._writer, self._reader = (
            HistoryWriter(writing, folder / DATABASE_FILE, config),
            HistoryReader(reading),
        )

    @property
    def lost(self) -> int:
        """Entries and pictures that were not kept.

        The disk was too slow or refused them, or the file is gone.
        """
        return self._writer.lost

    @property
    def failure(self) -> str:
        """Why writing failed last; empty if it works."""
        return self._writer.failure

    def add(self, entry: Entry, frame: Frame | None = None) -> None:
        """Have an entry written soon. Never waits for the disk.

        `frame` is the newest of a narration; it is kept if a picture is due, with a silent
        narration too. An entry without text is not kept itself.
        """
        self._writer.put(entry, frame)

    def entries(
        self,
        since_ns: int | None = None,
        until_ns: int | None = None,
        words: str = "",
        limit: int = 100,
    ) -> tuple[list[Entry], bool]:
        """What was said, in the order in which it was said; and whether there is more.

        Entries that end after `since_ns` and start before `until_ns`, in sensor time. Without
        `words`, or with white space alone, the newest `limit` of them; else those that hold the
        most telling of the words in text or question. HistoryError if it can't be read.
        """
        return self._reader.entries(since_ns, until_ns, words, limit)

    def moments(self, question: str, count: int) -> list[HistoryMoment]:
        """At most `count` pictures that may answer a question, oldest first; see moments.best.

        The text of a moment is the narration of its own second, or else the one for which it was
        found. Empty if no picture is kept. HistoryError if the history can't be read.
        """
        return self._reader.moments(question, count)

    def flush(self) -> None:
        """Wait until what was added before is written, or lost."""
        self._writer.flush()

    def close(self) -> None:
        """Write what waits, and close. What is added later is lost."""
        ended = self._writer.close()
        self._reader.close()
        if ended:
            self._lock.close()


def lock_folder(folder: Path) -> IO[str]:
    """Create the folder and lock it until the returned file is closed or the process ends.

    Raises:
        HistoryError: The folder can't be used, or another holder has the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "history.lock").open("a")
        try:
            # Not the database itself: SQLite has its own locks on that.
            if lock_file(lock, wait=False):
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
