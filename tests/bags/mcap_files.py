"""MCAP files with any of the format's optional parts, written by the mcap library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mcap.writer import Writer

from streamingvlm_ros.bags.cdr import topic_of
from streamingvlm_ros.bags.reader import BagReader

from .sample_bags import STRING, string

Fill = Callable[[Writer], None]


def write_mcap(path: Path, *fills: Fill, profile: str = "ros2", **options: Any) -> Path:
    """Write a file that each of `fills` adds to."""
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start(profile=profile)
        for fill in fills:
            fill(writer)
        writer.finish()
    return path


def texts_at(stamps_ns: Sequence[int], name: str = "/speech") -> Fill:
    """Add a topic of texts: each is the number of the message."""

    def fill(writer: Writer) -> None:
        channel = add_topic(writer, name, kind=STRING)
        for number, stamp_ns in enumerate(stamps_ns):
            writer.add_message(channel, stamp_ns, string(f"{number}"), stamp_ns)

    return fill


def add_topic(writer: Writer, name: str, *, kind: str) -> int:
    """Announce a ROS 2 topic; return its channel."""
    schema = writer.register_schema(kind, "ros2msg", topic_of(name, kind).definition.encode())
    return writer.register_channel(name, "cdr", schema)


def foreign(
    encoding: str, message_encoding: str, *, definition: bytes = b"", stamp_ns: int = 0
) -> Fill:
    """Add a topic that is no ROS 2 topic, with a message; without encoding it has no schema."""

    def fill(writer: Writer) -> None:
        schema = writer.register_schema("Thing", encoding, definition) if encoding else 0
        channel = writer.register_channel(f"/{message_encoding}", message_encoding, schema)
        writer.add_message(channel, stamp_ns, b"\x0a\x01x", stamp_ns)

    return fill


def stamps_and_losses(path: Path, since_ns: int | None = None) -> tuple[list[int], dict[str, str]]:
    """Read the stamps of all messages, and what was lost."""
    with BagReader(path) as reader:
        stamps_ns = [message.stamp_ns for message in reader.messages(since_ns=since_ns)]
        return stamps_ns, reader.losses
