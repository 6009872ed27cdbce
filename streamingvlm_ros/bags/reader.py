"""Reading bags of any rosbag2 storage, complete or damaged."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePath

import yaml
import zstandard

from ..errors import BagError
from ..types import NS_PER_S
from . import metadata
from .storage import STORAGES, BagFile, open_file
from .types import BagMessage, Topic

_ZSTD = b"\x28\xb5\x2f\xfd"
"""First bytes of a message that was compressed by itself. CDR begins with a zero."""

_NOTHING = "nothing of it can be read: "


class BagReader:
    """Topics and messages of a bag: a rosbag2 folder, or one of its files.

    Unfinished and damaged files are read as far as possible. `losses` reports the rest; some
    damage shows only after the messages have been iterated. Use it as a context manager.
    """

    def __init__(self, path: Path | str) -> None:
        """Open all files of the bag.

        Raises:
            BagError: There is no bag, or none of its files can be read.
        """
        self.path = Path(path)
        self._closed = False
        self._broken: dict[str, str] = {}
        with ExitStack() as stack:
            self._files = list(self._opened(stack))
            if not self._files:
                reasons = (
                    f"{reason.removeprefix(_NOTHING)} ({name})"
                    for name, reason in self._broken.items()
                )
                raise BagError(f"nothing of {self.path} can be read: {', '.join(reasons)}")
            self._stack = stack.pop_all()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        self._closed = True
        self._stack.close()

    @property
    def losses(self) -> dict[str, str]:
        """Reason for each file that was read only in part, by file name."""
        losses = {path.name: file.loss for path, file in self._files if file.loss}
        for name, reason in self._broken.items():
            losses[name] = f"{reason}; {losses[name]}" if name in losses else reason
        return losses

    @property
    def topics(self) -> tuple[Topic, ...]:
        """All topics, sorted by name. If files disagree about one, the first file counts."""
        topics: dict[str, Topic] = {}
        for _, file in self._files:
            for topic in file.topics:
                topics.setdefault(topic.name, topic)
        return tuple(topics[name] for name in sorted(topics))

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first message to the last; None if a file has no index."""
        spans = [file.span_ns for _, file in self._files]
        known = [span for span in spans if span]
        if len(known) < len(spans):
            return None
        return (max(last for _, last in known) - min(first for first, _ in known)) / NS_PER_S

    def messages(
        self, names: Collection[str] | None = None, since_ns: int = 0
    ) -> Iterator[BagMessage]:
        """Yield the messages of the topics `names`, or of all topics, file by file.

        Messages recorded before `since_ns` are left out; with an index, they are not even read.

        Raises:
            BagError: The bag has been closed.
        """
        for path, file in self._files:
            if self._closed:  # else it would seem empty, or damaged
                raise BagError(f"{self.path} is closed: open it again to read it")
            wanted = [t for t in file.topics if names is None or t.name in names]
            count = 0
            try:
                for message in file.messages(wanted, since_ns) if wanted else ():
                    if message.stamp_ns >= since_ns:
                        yield _decompress(message)
                        count += 1
            except Exception as error:  # A broken byte may raise anything in the libraries.
                self._broken.setdefault(path.name, f"broken after {count} messages: {error!r}")

    def _opened(self, stack: ExitStack) -> Iterator[tuple[Path, BagFile]]:
        for path in _parts(self.path):
            try:
                file, reason = open_file(path, stack)
            except Exception as error:  # As above.
                reason = getattr(error, "strerror", None) or str(error)
                self._broken[path.name] = _NOTHING + reason
                continue
            if reason:
                self._broken[path.name] = f"unfinished or damaged, read as far as it goes: {reason}"
            yield path, file


def _parts(path: Path) -> list[Path]:
    """Return the bag's files in the order of writing.

    Raises:
        BagError: There are none.
    """
    if not path.exists():
        raise BagError(f"there is no {path}")
    if path.is_dir():
        # Metadata may list a file twice.
        names = _listed_names(path / metadata.METADATA_FILE)
        listed = dict.fromkeys(PurePath(name).name for name in names)
        # A killed recorder has not listed its last file.
        on_disk = {p.name for p in path.iterdir() if p.name.endswith(STORAGES)}
        unlisted = sorted(on_disk - set(listed), key=_by_number)
        paths = [path / name for name in (*listed, *unlisted)]
    else:
        paths = [path] if path.name.endswith(STORAGES) else []
    if not paths:
        raise BagError(f"{path} is not a ROS 2 bag: it has no {' or '.join(STORAGES[:2])} file")
    return paths


def _listed_names(file: Path) -> list[str]:
    """Return the file names in the metadata; none if it can't be read."""
    try:
        information = yaml.safe_load(file.read_text())["rosbag2_bagfile_information"]
        return [str(name) for name in information["relative_file_paths"]]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return []


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a sort key that orders `bag_10` after `bag_9`."""
    return [(int(digits or 0), word) for digits, word in re.findall(r"(\d*)(\D*)", name)]


def _decompress(message: BagMessage) -> BagMessage:
    if not message.data.startswith(_ZSTD):
        return message
    data = zstandard.ZstdDecompressor().decompressobj().decompress(message.data)
    return replace(message, data=data)
