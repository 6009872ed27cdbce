"""The files that make up a bag, each part once.

A folder may hold a part twice: compressed and decompressed, copied, or converted. The part that
metadata.yaml lists counts, unless it is damaged and its copy is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import yaml

from ..errors import BagError
from .metadata import METADATA_FILE
from .storage import STORAGES, BagFile, has_bag_suffix, open_file
from .types import BEFORE_FIRST_NS, BagMessage

_BAG_FILE = re.compile(r"\.(mcap|db3)\b(?!-(wal|shm|journal)$)", re.IGNORECASE)
"""Endings of bag files and of backups, such as .mcap.bak, but not of SQLite's other files."""
_NUMBERED = re.compile(r"(.*?)(\d+)\.(?:mcap|db3)(?:\.zstd)?", re.IGNORECASE)


@dataclass
class Part:
    """One part of a bag. `file` is None if nothing of it can be read; then `reason` says why."""

    name: str
    path: Path
    file: BagFile | None = None
    reason: str = ""

    @property
    def is_intact(self) -> bool:
        """Whether it can be read and has no damage. This may read all of it."""
        return self.file is not None and self.file.is_intact()


@dataclass
class Parts:
    """Opens the files of a bag one after another, and decides which of them are read."""

    stack: ExitStack
    """Closes the files that are read."""
    listed: list[Part] = field(default_factory=list)
    others: list[Part] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a file is not read, by its name."""

    def all(self) -> list[Part]:
        """Return the parts in the order of playing."""
        return [*self.listed, *sorted(self.others, key=lambda part: _by_number(part.name))]

    def add_listed(self, path: Path) -> None:
        """Add a part that is in the metadata."""
        self.listed.append(_open(path, self.stack))

    def add_other(self, path: Path, *, is_backup: bool = False) -> None:
        """Add a file that is not in the metadata, unless its content is known or foreign."""
        twin = next((p for p in self.all() if _plain_name(p.name) == _plain_name(path.name)), None)
        if twin and twin.is_intact:
            self.left_out[path.name] = f"left out: it is a copy of {twin.path.name}"
            return
        with ExitStack() as stack:
            part = _open(path, stack)
            twin = twin or self._find_twin(part)
            if twin:
                is_used = self._replace(twin, part)
            elif is_used := not is_backup and self._is_wanted(part):
                self.others.append(part)
            else:
                self.left_out[path.name] = f"left out: {METADATA_FILE} does not list it"
            if is_used:
                self.stack.push(stack.pop_all())

    def _find_twin(self, part: Part) -> Part | None:
        """Return the part with the same content, or a damaged one with a similar name."""
        if not part.file:
            return None
        others = [other for other in self.all() if _may_be_copies(other, part)]
        for other in others:
            if other.file and _have_same_content(other.file, part.file):
                return other
        for other in others:
            is_similar = re.search(rf"{re.escape(_stem(other.name))}(?!\d)", part.name)
            if is_similar and not other.is_intact:
                return other
        return None

    def _replace(self, twin: Part, part: Part) -> bool:
        """Read the copy instead of its twin if that is damaged and the copy is better."""
        if twin.is_intact or not part.file or (twin.file and not part.is_intact):
            self.left_out[part.name] = f"left out: it is a copy of {twin.path.name}"
            return False
        reason = twin.reason or "it is damaged"
        self.left_out[twin.path.name] = f"{reason}; {part.name}, a copy of it, is read instead"
        twin.path, twin.file, twin.reason = part.path, part.file, ""
        return True

    def _is_wanted(self, part: Part) -> bool:
        """Return True if a file continues the listed ones, or if none of them is left."""
        if not any(other.file for other in self.listed):
            return True
        # A killed recorder has not listed its last files.
        number = _NUMBERED.fullmatch(part.name)
        listed = [_NUMBERED.fullmatch(other.name) for other in self.listed]
        same = [int(other[2]) for other in listed if other and number and other[1] == number[1]]
        return bool(number and same and int(number[2]) > max(same))


def open_parts(path: Path, stack: ExitStack) -> Parts:
    """Open a bag's folder, or one of its files.

    Raises:
        BagError: It is no bag.
    """
    if not path.exists():
        raise BagError(f"there is no {path}")
    parts = Parts(stack)
    if not path.is_dir():
        if has_bag_suffix(path.name):
            parts.add_listed(path)
    else:
        # Metadata may list a file twice.
        listed = dict.fromkeys(PurePath(name).name for name in _listed_names(path / METADATA_FILE))
        unlisted = {p.name for p in path.iterdir() if _is_bag_file(p.name)} - listed.keys()
        parts_on_disk = [name for name in unlisted if has_bag_suffix(name)]
        if not listed and not parts_on_disk:
            unlisted = set()
        for name in listed:
            parts.add_listed(path / name)
        for name in sorted(unlisted, key=_originals_first):
            parts.add_other(path / name, is_backup=not has_bag_suffix(name))
    if not parts.all():
        raise BagError(f"{path} is not a ROS 2 bag: it has no {' or '.join(STORAGES[:2])} file")
    return parts


def _open(path: Path, stack: ExitStack) -> Part:
    try:
        return Part(path.name, path, open_file(path, stack))
    except Exception as error:  # A broken byte may raise anything in the libraries.
        return Part(path.name, path, reason=getattr(error, "strerror", None) or str(error))


def _may_be_copies(one: Part, other: Part) -> bool:
    """Return False if the two hold different times, as the parts of a bag do."""
    spans_ns = [part.file.span_ns for part in (one, other) if part.file and part.file.span_ns]
    if len(spans_ns) < 2:
        return True
    return max(first for first, _ in spans_ns) <= min(last for _, last in spans_ns)


def _have_same_content(one: BagFile, other: BagFile) -> bool:
    """Return True if one file's first message is also in the other one.

    A copy may be cut off, damaged or converted: its bytes may all be different.
    """
    return _starts_in(one, other) or _starts_in(other, one)


def _starts_in(one: BagFile, other: BagFile) -> bool:
    # Recorders repeat transient-local messages in each part.
    topics = [topic for topic in one.topics if not topic.transient_local] or one.topics
    try:
        first = next(one.messages(topics, BEFORE_FIRST_NS), None)
        return first is not None and any(
            _is_same(first, message) for message in _messages_at(other, first)
        )
    except Exception:  # as above
        return False


def _messages_at(file: BagFile, first: BagMessage) -> Iterator[BagMessage]:
    """Yield a file's messages with the topic and stamp of another file's."""
    topics = [topic for topic in file.topics if topic.name == first.topic.name]
    for message in file.messages(topics, first.stamp_ns) if topics else ():
        if message.stamp_ns > first.stamp_ns:
            return
        yield message


def _is_same(one: BagMessage, other: BagMessage) -> bool:
    return one.stamp_ns == other.stamp_ns and one.data == other.data


def _listed_names(file: Path) -> list[str]:
    """Return the file names in the metadata; none if it can't be read."""
    try:
        information = yaml.safe_load(file.read_text())["rosbag2_bagfile_information"]
        return [str(name) for name in information["relative_file_paths"]]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return []


def _is_bag_file(name: str) -> bool:
    """Return True for a bag's file or a backup of it; hidden files are other programs'."""
    return not name.startswith(".") and _BAG_FILE.search(name) is not None


def _plain_name(name: str) -> str:
    return re.sub(r"\.zstd$", "", name, flags=re.IGNORECASE)


def _stem(name: str) -> str:
    return re.split(r"\.(?:mcap|db3)\b", name, flags=re.IGNORECASE)[0]


def _originals_first(name: str) -> tuple[bool, bool, int, list[tuple[int, str]]]:
    """Return a sort key: compressed files after others, long names, as copies have, after short."""
    return not has_bag_suffix(name), name.lower().endswith(".zstd"), len(name), _by_number(name)


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a sort key that orders `bag_10` after `bag_9`."""
    return [(int(digits or 0), word) for digits, word in re.findall(r"(\d*)(\D*)", name)]
