"""Reading bags of any rosbag2 storage, complete or damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from ..errors import BagError
from ..plural import plural
from ..types import NS_PER_S
from .decompression import ZSTD_MAGIC, decompress
from .parts import open_parts
from .types import BEFORE_FIRST_NS, IMAGE_TYPES, BagMessage, Topic

_NOTHING = "nothing of it can be read: "
_PARTIAL = "unfinished or damaged, read as far as it goes: "

_ROS1 = ("ros1", "ros1msg")


class BagReader:
    """Topics and messages of a bag: a rosbag2 folder, or one of its files.

    Unfinished and damaged files are read as far as possible. `losses` reports the rest; some
    damage shows only after the messages have been iterated. Use it as a context manager.
    """

    def __init__(self, path: Path | str) -> None:
        """Open all files of the bag.

        Raises:
            BagError: There is no bag, none of its files can be read, or it has no ROS 2 topic.
        """
        self.path = Path(path)
        self._closed = False
        self._broken: dict[str, tuple[int, str]] = {}
        self._bad_messages: Counter[str] = Counter()
        with ExitStack() as stack:
            parts = open_parts(self.path, stack)
            self._left_out = parts.left_out
            self._unreadable = {p.path.name: p.reason for p in parts.all() if not p.file}
            self._files = [(part.path, part.file) for part in parts.all() if part.file]
            if not self._files:
                reasons = (f"{reason} ({name})" for name, reason in self._unreadable.items())
                raise BagError(f"nothing of {self.path} can be read: {', '.join(reasons)}")
            if self.foreign and not self.topics:
                raise BagError(_foreign_only(self.path, self.foreign))
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
        """Reason for each file that was read only in part or not at all, by file name."""
        losses = {
            **self._left_out,
            **{name: _NOTHING + reason for name, reason in self._unreadable.items()},
        }
        for path, file in self._files:
            reasons = [file.loss] if file.loss else []
            if file.incomplete:
                reasons.insert(0, _PARTIAL + file.incomplete)
            if path.name in self._broken:
                count, error = self._broken[path.name]
                reasons.append(f"broken after {plural(count, 'message')}: {error}")
            if count := self._bad_messages[path.name]:
                reasons.append(f"{plural(count, 'message')} can't be decompressed")
            if reasons:
                losses[path.name] = "; ".join(reasons)
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
    def cameras(self) -> tuple[Topic, ...]:
        """The image topics that have a message."""
        return tuple(topic for topic in self.used_topics if topic.type in IMAGE_TYPES)

    @cached_property
    def used_topics(self) -> tuple[Topic, ...]:
        """All topics but cameras without a message: drivers announce some that nobody uses."""
        return tuple(
            topic
            for topic in self.topics
            if topic.type not in IMAGE_TYPES or next(self.messages([topic.name]), None)
        )

    @property
    def foreign(self) -> tuple[str, ...]:
        """Encodings other than CDR, such as 'protobuf'. Their messages are not read."""
        encodings = {encoding for _, file in self._files for encoding in file.foreign}
        return tuple(sorted(encodings))

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first message to the last; None if the end of a file is missing."""
        spans = [file.span_ns for _, file in self._files if file.span_ns]
        if not spans or any(file.incomplete for _, file in self._files):
            return None
        return (max(last for _, last in spans) - min(first for first, _ in spans)) / NS_PER_S

    def messages(
        self, names: Collection[str] | None = None, since_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Yield the messages of the topics `names`, or of all topics, file by file.

        Messages recorded before `since_ns` are left out; with an index, they are not even read.

        Raises:
            BagError: The bag has been closed.
        """
        begin_ns = BEFORE_FIRST_NS if since_ns is None else since_ns
        for path, file in self._files:
            if self._closed:  # else it would seem empty, or damaged
                raise BagError(f"{self.path} is closed: open it again to read it")
            wanted = [t for t in file.topics if names is None or t.name in names]
            count, bad = 0, 0
            try:
                for message in file.messages(wanted, begin_ns) if wanted else ():
                    if plain := _decompress(message):
                        yield plain
                        count += 1
                    else:
                        bad += 1
                        self._bad_messages[path.name] = max(bad, self._bad_messages[path.name])
            except Exception as error:  # A broken byte may raise anything in the libraries.
                known, _ = self._broken.get(path.name, (0, ""))
                self._broken[path.name] = max(count, known), repr(error)


def _foreign_only(path: Path, encodings: Collection[str]) -> str:
    if not set(encodings).isdisjoint(_ROS1):
        return (
            f"{path} holds ROS 1 messages, not ROS 2; convert the ROS 1 bag it was made from, with "
            "`rosbags-convert --src drive.bag --dst drive` (pip install rosbags)"
        )
    return (
        f"{path} holds no ROS 2 messages but {', '.join(encodings)}; record or convert the camera "
        "as sensor_msgs/msg/Image or CompressedImage in CDR"
    )


def _decompress(message: BagMessage) -> BagMessage | None:
    """Decompress a message that was compressed by itself; None if it is damaged."""
    if not message.data.startswith(ZSTD_MAGIC):  # CDR begins with a zero
        return message
    try:
        return replace(message, data=bytes(decompress(message.data, "zstd")))
    except Exception:  # as above
        return None
