"""The folder of a history, held by one process at a time."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from ..errors import HistoryError


def lock_folder(folder: Path) -> IO[str]:
    """Make the folder, and hold it until the returned file is closed or the process ends.

    HistoryError if the folder can't be used, or if somebody else holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "history.lock").open("a")
        try:
            # Not on the database itself: SQLite has locks of its own on that.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise
    except BlockingIOError as error:
        raise HistoryError(
            f"the history in {folder} is in use by another narrator: give each its own folder"
        ) from error
    except OSError as error:
        raise HistoryError(
            f"no history can be kept in {folder} ({error.strerror}): "
            "choose a folder on a local disk that can be written to"
        ) from error
    return lock
