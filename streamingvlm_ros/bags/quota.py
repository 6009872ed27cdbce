"""The disk space of a recorder's folder: free space, quota, names and locks of its bags."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import BagError
from ..file_lock import lock_file
from .metadata import METADATA_FILE
from .writer import BagWriter

_NAME = re.compile(r"\d{4}-\d\d-\d\d-\d{6}(-\d+)?")
"""Names of a recorder's bags: date and time, so that they sort by age."""

CLIPS = "clips"
"""Name of the folder of saved clips, beside the bags."""


class Quota:
    """Keeps part of the disk free, and the bags and clips of a folder within a size.

    It only deletes a recorder's own bags: named by their date, with nothing but a bag's files in
    them, and not being written. Saved clips count, but are never deleted.
    """

    def __init__(self, folder: Path, keep_free_bytes: int, *, max_bytes: int = 0) -> None:
        """`max_bytes` limits the bags and clips of the folder; 0 means no limit."""
        self._folder = folder
        self._keep_free_bytes, self._max_bytes = keep_free_bytes, max_bytes

    def check_disk(self, coming_bytes: int) -> None:
        """Check that the disk has room for `coming_bytes` more.

        Raises:
            BagError: Too little of the disk would stay free.
        """
        if self._keep_free_bytes and self._free_bytes() - coming_bytes < self._keep_free_bytes:
            raise BagError(
                f"less than {self._keep_free_bytes // 10**6} MB would stay free on the disk of "
                f"{self._folder}: free some space and restart the recorder, or lower keep_free_mb"
            )

    def trim(self, bag: BagWriter) -> None:
        """Delete the oldest other bags, then the oldest files of `bag`, until the rest fits.

        Raises:
            BagError: There is nothing left to delete.
        """
        if not self._max_bytes:
            return
        oldest = iter(sorted(self._bags(bag.folder)))
        clips = clips_size(self._folder)
        others = clips + sum(_size(path) for path in self._bags(bag.folder))
        while (excess := others + bag.size_bytes - self._max_bytes) > 0:
            if path := next(oldest, None):
                others -= _delete(path)
            elif not bag.drop_oldest():
                clips_text = f" beside {_mb(clips)} of saved clips" if clips else ""
                raise BagError(
                    f"the quota of {self._folder} is {_mb(excess)} too small for the file that is "
                    f"being written{clips_text}: raise quota_gb, or lower split_mb"
                    + (", or move clips away" if clips else "")
                )

    def _bags(self, written: Path) -> Iterator[Path]:
        return (p for p in self._folder.iterdir() if p != written and is_own_bag(p))

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._folder).free


class ClipQuota(Quota):
    """Keeps part of the disk free, and the saved clips of a folder within a size."""

    def __init__(
        self, folder: Path, keep_free_bytes: int, *, max_clip_bytes: int | None = None
    ) -> None:
        """`max_clip_bytes` limits all clips of the folder together; None means no limit."""
        super().__init__(folder, keep_free_bytes)
        self._max_clip_bytes = max_clip_bytes

    def check_disk(self, coming_bytes: int) -> None:
        """Check that the disk and the clips' part of the quota have room for `coming_bytes` more.

        Raises:
            BagError: They don't.
        """
        super().check_disk(coming_bytes)
        self.check_clips(coming_bytes)

    def check_clips(self, coming_bytes: int) -> None:
        """Check that the clips' part of the quota has room for `coming_bytes` more.

        Raises:
            BagError: It hasn't.
        """
        if self._max_clip_bytes is None:
            return
        if (used := clips_size(self._folder)) + coming_bytes > self._max_clip_bytes:
            raise BagError(
                f"{self._folder / CLIPS} is full: its clips take {_mb(used)}, and quota_gb leaves "
                f"them {_mb(self._max_clip_bytes)} beside the recording: move clips away, or raise "
                "quota_gb"
            )


def clips_size(folder: Path) -> int:
    """Return the bytes of a recorder's saved clips, with all that lies beside them."""
    clips = folder / CLIPS
    if clips.is_symlink():  # They may be on another disk.
        return 0
    size = 0
    for parent, _, names in os.walk(clips):
        for name in names:
            with suppress(FileNotFoundError):  # It may be moved meanwhile.
                size += Path(parent, name).lstat().st_size
    return size


def dated_path(folder: Path, label: str = "") -> Path:
    """Return an unused path in `folder`, named by the date, the time and the label."""
    name = time.strftime("%Y-%m-%d-%H%M%S") + (f"-{label}" if label else "")
    candidates = (folder / f"{name}{end}" for end in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(path for path in candidates if not path.exists())


def is_own_bag(path: Path) -> bool:
    """Return whether a recorder made this bag, and nobody has added other files since."""
    if path.is_symlink() or not _NAME.fullmatch(path.name) or not path.is_dir():
        return False
    file = re.compile(rf"{re.escape(path.name)}_\d+\.mcap")
    with suppress(FileNotFoundError):  # It may be deleted meanwhile.
        names = {entry.name for entry in path.iterdir()} - {METADATA_FILE}
        # A killed recorder leaves a temporary metadata file behind.
        names = {name for name in names if not name.startswith(f".{METADATA_FILE}-")}
        return bool(names) and all(file.fullmatch(name) for name in names)
    return False


@contextmanager
def locked_folder(folder: Path) -> Iterator[bool]:
    """Lock a bag's folder, which marks it as being written; yield False if it is locked already."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        return lock_file(descriptor, wait=False)
    except OSError:  # The file system has no locks: treat the folder as free.
        return True


def _delete(path: Path) -> int:
    """Delete a bag unless it is being written; return the bytes to subtract from the total."""
    size = _size(path)
    try:
        with locked_folder(path) as locked:
            if locked:
                shutil.rmtree(path)
    except FileNotFoundError:  # Somebody else deleted it.
        pass
    except OSError as error:
        raise BagError(
            f"the quota is full and {path} can't be deleted ({error.strerror}): delete it, or "
            "raise quota_gb, and start the recorder again"
        ) from error
    return size


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(file.stat().st_size for file in path.iterdir())
    return 0


def _mb(size_bytes: int) -> str:
    return f"{-(-size_bytes // 10**6)} MB"
