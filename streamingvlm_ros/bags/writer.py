"""Writing bags: rosbag2 folders of MCAP files."""

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

    Flushed messages are readable by `BagReader` even if the process is killed. Every file begins
    with the last messages of transient-local topics. Methods raise OSError if the disk takes no
    more; then call `abandon`.
    """

    def __init__(
        self, folder: Path, config: BagConfig, *, custom: Mapping[str, str] | None = None
    ) -> None:
        """Create the bag. `custom` goes into its metadata.

        Raises:
            BagError: The folder can't be created, or exists.
        """
        self.folder = folder
        self._config, self._custom = config, dict(custom or {})
        self._topics: dict[str, Topic] = {}
        self._files: list[McapFile] = []
        self._transient_local = TransientLocalMessages()
        self._file_count = 0
        try:
            folder.mkdir(parents=True)
            self._begin_file()
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
        """Size of the bag's files on disk."""
        return sum(file.path.stat().st_size for file in self._files)

    def write(self, topic: Topic, stamp_ns: int, *, data: bytes) -> None:
        """Add a message that was recorded at `stamp_ns`."""
        if self._is_full(stamp_ns):
            self._end_file()
            self._begin_file()
            for message in self._transient_local.all():
                self._files[-1].write(message.topic, stamp_ns, data=message.data)
        self._topics.setdefault(topic.name, topic)
        self._files[-1].write(topic, stamp_ns, data=data)
        if topic.transient_local:
            self._transient_local.add(BagMessage(topic, stamp_ns, data))

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._files[-1].flush()

    def drop_oldest(self) -> bool:
        """Delete the oldest file; return False if only the one being written is left."""
        if len(self._files) < 2:
            return False
        self._files.pop(0).path.unlink(missing_ok=True)
        self._write_metadata()
        return True

    def close(self) -> None:
        """Finish the bag."""
        self._end_file()

    def abandon(self) -> None:
        """End the bag after an error, with everything that was flushed and no partial message."""
        self._files[-1].abandon()
        with suppress(OSError):  # The previous metadata will do.
            self._write_metadata()

    def _is_full(self, stamp_ns: int) -> bool:
        file, limits = self._files[-1], self._config
        too_large = limits.split_mb and file.size_bytes >= limits.split_mb * 10**6
        too_long = limits.split_s and stamp_ns - file.first_ns >= limits.split_s * NS_PER_S
        return bool(file.counts) and bool(too_large or too_long)

    def _begin_file(self) -> None:
        path = self.folder / f"{self.folder.name}_{self._file_count}.mcap"
        self._file_count += 1
        self._files.append(McapFile(path, self._config.compression))
        self._write_metadata()

    def _end_file(self) -> None:
        self._files[-1].close()
        self._write_metadata()

    def _write_metadata(self) -> None:
        write_metadata(self.folder, self._topics.values(), files=self._files, custom=self._custom)
