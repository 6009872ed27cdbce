"""Writes bags: a rosbag2 folder of MCAP files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..config import check_ranges, setting
from ..errors import BagError
from ..types import NS_PER_S
from .mcap_file import McapFile
from .metadata import write_metadata
from .recorded import Topic


@dataclass(frozen=True)
class BagConfig:
    """How a bag is written."""

    split_mb: int = setting(
        1024, "A bag's next file begins when one has so many MB; 0: never.", low=0, high=10**6
    )
    split_s: int = setting(
        0, "A bag's next file begins after so many seconds; 0: never.", low=0, high=10**6
    )
    compression: str = setting(
        "zstd", "How a bag's chunks are compressed.", choices=("zstd", "lz4", "none")
    )

    def __post_init__(self) -> None:
        check_ranges(self)


class BagWriter:
    """A new bag, written from one thread. Use it as a context manager.

    Whatever was flushed can be read, even if the process is killed: see BagReader. OSError where
    the disk takes no more.
    """

    def __init__(
        self, folder: Path, config: BagConfig, custom: Mapping[str, str] | None = None
    ) -> None:
        """BagError if the folder can't be made. `custom` is kept in the bag's metadata."""
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise BagError(f"no bag can be written to {folder}: {error.strerror}") from error
        self.folder = folder
        self._config, self._custom = config, dict(custom or {})
        self._topics: dict[str, Topic] = {}
        self._files: list[McapFile] = []
        self._begin()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *error: object) -> None:
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
        self._topics.setdefault(topic.name, topic)
        self._files[-1].write(topic, stamp_ns, data)

    def flush(self) -> None:
        """Hand everything to the system."""
        self._files[-1].flush()

    def close(self) -> None:
        """Finish the bag."""
        self._end()

    def _is_full(self, stamp_ns: int) -> bool:
        file, most = self._files[-1], self._config
        too_large = most.split_mb and file.size_bytes >= most.split_mb * 10**6
        too_long = most.split_s and stamp_ns - file.first_ns >= most.split_s * NS_PER_S
        return bool(file.counts) and bool(too_large or too_long)

    def _begin(self) -> None:
        path = self.folder / f"{self.folder.name}_{len(self._files)}.mcap"
        self._files.append(McapFile(path, self._config.compression))
        self._note()

    def _end(self) -> None:
        self._files[-1].close()
        self._note()

    def _note(self) -> None:
        write_metadata(self.folder, self._topics.values(), self._files, self._custom)
