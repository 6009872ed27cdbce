"""Writes bags: a rosbag2 folder of MCAP files."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import BagError
from ..types import NS_PER_S
from .config import BagConfig
from .mcap_file import McapFile
from .metadata import write_metadata
from .transient_local import TransientLocalMessages
from .types import BagMessage, Topic


class BagWriter:
    """A new bag, written from one thread. Use it as a context manager.

    Whatever was flushed can be read, even if the process is killed: see BagReader. Every file
    begins with what latched topics said before. OSError where the disk takes no more: then
    `abandon` it.
    """

    def __init__(
        self, folder: Path, config: BagConfig, custom: Mapping[str, str] | None = None
    ) -> None:
        """BagError if the folder can't be made. `custom` is kept in the bag's metadata."""
        self.folder = folder
        self._config, self._custom = config, dict(custom or {})
        self._topics: dict[str, Topic] = {}
        self._files: list[McapFile] = []
        self._latched = TransientLocalMessages()
        self._begun = 0
        try:
            folder.mkdir(parents=True)
            self._begin()
        except OSError as error:
            raise BagError(f"no bag can be written to {folder}: {error.strerror}") from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if isinstance(error, OSError):
            self.abandon()
        else:
            self.close()

    @property
    def size_bytes(self) -> int:
        """What is on disk."""
        return sum(file.path.stat().st_size for file in self._files)

    def write(self, topic: Topic, stamp_ns: int, data: bytes) -> None:
        """Add a message that was recorded at `stamp_ns`."""
        if self._is_full(stamp_ns):
            self._end()
            self._begin()
            for kept in self._latched.all():
                self._files[-1].write(kept.topic, stamp_ns, kept.data)
        self._topics.setdefault(topic.name, topic)
        self._files[-1].write(topic, stamp_ns, data)
        if topic.transient_local:
            self._latched.add(BagMessage(topic, stamp_ns, data))

    def flush(self) -> None:
        """Hand everything to the system."""
        self._files[-1].flush()

    def drop_oldest(self) -> bool:
        """Delete the oldest file; False if that is the one which is being written."""
        if len(self._files) < 2:
            return False
        self._files.pop(0).path.unlink(missing_ok=True)
        self._note()
        return True

    def close(self) -> None:
        """Finish the bag."""
        self._end()

    def abandon(self) -> None:
        """End it after an error, with all that was flushed and nothing half written."""
        self._files[-1].abandon()
        with suppress(OSError):  # the one before will do
            self._note()

    def _is_full(self, stamp_ns: int) -> bool:
        file, most = self._files[-1], self._config
        too_large = most.split_mb and file.size_bytes >= most.split_mb * 10**6
        too_long = most.split_s and stamp_ns - file.first_ns >= most.split_s * NS_PER_S
        return bool(file.counts) and bool(too_large or too_long)

    def _begin(self) -> None:
        path = self.folder / f"{self.folder.name}_{self._begun}.mcap"
        self._begun += 1
        self._files.append(McapFile(path, self._config.compression))
        self._note()

    def _end(self) -> None:
        self._files[-1].close()
        self._note()

    def _note(self) -> None:
        write_metadata(self.folder, self._topics.values(), self._files, self._custom)
