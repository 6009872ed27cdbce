"""Advisory locks on files and folders, between processes."""

from __future__ import annotations

import fcntl
from typing import IO


def lock_file(file: IO[str] | int, *, wait: bool = True) -> bool:
    """Lock an open file or folder, exclusively, until it is closed.

    Return False if another holder has the lock and `wait` is false.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
