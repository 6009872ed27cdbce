"""Permissions of the history: only the owner may read what a camera saw in a home."""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

DATABASE_FILE = "history.sqlite"
"""Name of the database in the folder."""

LOCK_FILE = "history.lock"

log = logging.getLogger(__name__)

_FILES = {LOCK_FILE, *(DATABASE_FILE + end for end in ("", "-wal", "-shm", "-journal"))}
_OWNER_ONLY = 0o700


def restrict_access(folder: Path) -> None:
    """Take the history in `folder` away from group and others; prepare a private database file.

    A folder with other files in it, such as a home, keeps its permissions.
    """
    # SQLite gives its log the permissions of the database. Errors are SQLite's to report.
    with suppress(OSError):
        os.close(os.open(folder / DATABASE_FILE, os.O_CREAT | os.O_RDWR, 0o600))
    names = {path.name for path in folder.iterdir()}
    for path in [folder / name for name in sorted(names & _FILES)]:
        _restrict(path)
    if names <= _FILES:
        _restrict(folder)


def _restrict(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    with suppress(PermissionError):  # somebody else's, or a file system without permissions
        if mode & ~_OWNER_ONLY:
            path.chmod(mode & _OWNER_ONLY)
    if stat.S_IMODE(path.stat().st_mode) & ~_OWNER_ONLY:
        log.warning("other users can read %s, and its permissions can't be changed", path)
