"""Reads bags of any rosbag2 storage, whole or not."""

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
"""How a message begins that was compressed by itself. CDR begins with a zero."""

_NOTHING = "nothing of it can be read: "


class BagReader:
    """Topics and messages of a bag: a rosbag2 folder, or one of its files.

    What is unfinished or damaged is read as far as it goes. `losses` says what could not be; of
    some damage it can only tell when the messages have been iterated. Use it as a context manager.
    """

    def __init__(self, path: Path | str) -> None:
        """BagError if there is no bag, or nothing of it can be read."""
        self.path = Path(path)
        self._broken: dict[str, str] = {}
        with ExitStack() as stack:
            self._files = list(self._opened(stack))
            if not self._files:
                whys = (f"{why.removeprefix(_NOTHING)} ({n})" for n, why in self._broken.items())
                raise BagError(f"nothing of {self.path} can be read: {', '.join(whys)}")
            self._stack = stack.pop_all()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        self._stack.close()

    @property
    def losses(self) -> dict[str, str]:
        """Why, of each file that could not be read to its end, or not all of it."""
        found = {path.name: file.lost for path, file in self._files if file.lost}
        for name, why in self._broken.items():
            found[name] = f"{why}; {found[name]}" if name in found else why
        return found

    @property
    def topics(self) -> tuple[Topic, ...]:
        """All topics, by name. Where a later file says otherwise, the first is right."""
        found: dict[str, Topic] = {}
        for _, file in self._files:
            for topic in file.topics:
                found.setdefault(topic.name, topic)
        return tuple(found[name] for name in sorted(found))

    @property
    def duration_s(self) -> float | None:
        """Seconds between the first message and the last; None if not all files are whole."""
        spans = [file.span_ns for _, file in self._files]
        known = [span for span in spans if span]
        if len(known) < len(spans):
            return None
        return (max(last for _, last in known) - min(first for first, _ in known)) / NS_PER_S

    def messages(
        self, names: Collection[str] | None = None, since_ns: int = 0
    ) -> Iterator[BagMessage]:
        """The messages of the topics of these names, or of all: file after file.

        Those that were recorded before `since_ns` are left out, where there is an index unread.
        """
        for path, file in self._files:
            wanted = [t for t in file.topics if names is None or t.name in names]
            count = 0
            try:
                for recorded in file.messages(wanted, since_ns) if wanted else ():
                    if recorded.stamp_ns >= since_ns:
                        yield _unpacked(recorded)
                        count += 1
            except Exception as error:  # whatever a broken byte leads the libraries to
                self._broken.setdefault(path.name, f"broken after {count} messages: {error!r}")

    def _opened(self, stack: ExitStack) -> Iterator[tuple[Path, BagFile]]:
        for path in _parts(self.path):
            try:
                file, why = open_file(path, stack)
            except Exception as error:  # as above
                why = getattr(error, "strerror", None) or str(error)
                self._broken[path.name] = _NOTHING + why
                continue
            if why:
                self._broken[path.name] = f"unfinished or damaged, read as far as it goes: {why}"
            yield path, file


def _parts(path: Path) -> list[Path]:
    """The bag's files in the order in which they were written. BagError if there are none."""
    if not path.exists():
        raise BagError(f"there is no {path}")
    if path.is_dir():
        # Each once, however often it is listed.
        listed = dict.fromkeys(
            PurePath(name).name for name in _listed(path / metadata.METADATA_FILE)
        )
        # A recorder that was killed has not written down its last file.
        there = {p.name for p in path.iterdir() if p.name.endswith(STORAGES)}
        paths = [path / name for name in (*listed, *sorted(there - set(listed), key=_numbers))]
    else:
        paths = [path] if path.name.endswith(STORAGES) else []
    if not paths:
        raise BagError(f"{path} is no ROS 2 bag: it has no {' or '.join(STORAGES[:2])} file")
    return paths


def _listed(file: Path) -> list[str]:
    """The names of the files that the recorder wrote down; none if that can't be read."""
    try:
        information = yaml.safe_load(file.read_text())["rosbag2_bagfile_information"]
        return [str(name) for name in information["relative_file_paths"]]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return []


def _numbers(name: str) -> list[tuple[int, str]]:
    """Orders `bag_10` after `bag_9`."""
    return [(int(digits or 0), word) for digits, word in re.findall(r"(\d*)(\D*)", name)]


def _unpacked(recorded: BagMessage) -> BagMessage:
    if not recorded.data.startswith(_ZSTD):
        return recorded
    return replace(
        recorded, data=zstandard.ZstdDecompressor().decompressobj().decompress(recorded.data)
    )
