"""Sample bags of two topics, written by this package or by the rosbags library."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from streamingvlm_ros.bags.cdr import MessageDecoder, encode, known_types, topic_of
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.types import NS_PER_S as S

STRING = "std_msgs/msg/String"
TIMEOUT_S = 120.0
"""Limit of a wait for another thread, generous for a busy machine."""


@cache
def string(text: str) -> bytes:
    """Serialise a std_msgs/String."""
    types: Any = known_types().types
    return encode(types[STRING](data=text))


def write(folder: Path, seconds: Iterable[int], *, config: BagConfig | None = None) -> Path:
    """Write a bag by this package: each second, a message with its number on either topic."""
    speech, echo = topic_of("/speech", STRING), topic_of("/echo", STRING)
    with BagWriter(folder, config or BagConfig()) as bag:
        for second in seconds:
            bag.write(speech, second * S, data=string(f"speech {second}"))
            bag.write(echo, second * S + S // 2, data=string(f"echo {second}"))
    return folder


def write_with_rosbags(
    folder: Path,
    storage: StoragePlugin,
    *,
    compression: CompressionMode,
    version: Any = 9,
    count: int = 20,
    padding: str = "",
) -> Path:
    """Write such a bag by the rosbags library; `padding` ends each text."""
    writer = Writer(folder, version=version, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        topics = [
            writer.add_connection(name, STRING, typestore=known_types())
            for name in ("/speech", "/echo")
        ]
        for second in range(count):
            for number, name in enumerate(("speech", "echo")):
                stamp_ns = second * S + number * S // 2
                writer.write(topics[number], stamp_ns, string(f"{name} {second}{padding}"))
    return folder


def texts(path: Path, name: str | None = None) -> list[str]:
    """Read the texts of the messages of one topic, or of all."""
    decoder = MessageDecoder()
    with BagReader(path) as bag:
        names = None if name is None else [name]
        return [decoder.decode(message).data for message in bag.messages(names)]
