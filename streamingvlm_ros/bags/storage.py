"""Opening one file of a bag, complete or damaged."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from .decompression import ZSTD_MAGIC, decompress_file
from .mcap_reader import McapReader
from .sqlite_reader import DatabaseReader
from .types import BagMessage, Topic

STORAGES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
"""Endings of a bag's files; the last two are compressed files."""

_SQLITE = b"SQLite format 3\0"


class BagFile(Protocol):
    """Topics and messages of one file."""

    topics: tuple[Topic, ...]
    """All topics with ROS 2 messages."""
    foreign: tuple[str, ...]
    """Encoding of each other topic, such as 'protobuf'; their messages are not read."""
    span_ns: tuple[int, int] | None
    """First and last stamp; None if there is no message, or if unknown."""
    incomplete: str
    """Why a part of the file is missing; empty if it is whole."""

    @property
    def loss(self) -> str:
        """Description of the damage that `messages` left out; empty if there is none so far."""
        ...

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """Yield the messages of these topics from `since_ns` on; raise at an unreadable place."""
        ...

    def is_intact(self) -> bool:
        """Read everything; return True if nothing is damaged or missing."""
        ...


def has_bag_suffix(name: str) -> bool:
    """Return True if a name has the ending of a bag's file, in any case."""
    return name.lower().endswith(STORAGES)


def open_file(path: Path, stack: ExitStack) -> BagFile:
    """Open a file, to be closed by `stack`. Its first bytes decide, so that backups can be read.

    Any exception means that nothing of it can be read.
    """
    if _first_bytes(path).startswith(ZSTD_MAGIC):
        path = decompress_file(path, Path(stack.enter_context(TemporaryDirectory())))
    if _first_bytes(path) == _SQLITE or ".db3" in path.name.lower():
        return DatabaseReader(path)
    return McapReader(path, stack)


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_SQLITE))
