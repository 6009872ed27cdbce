"""Bags for tests: of narrations, one a second, made by this package or by the rosbags library."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from streamingvlm_ros.bags.cdr import MessageDecoder, encode, known_types, topic_of
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.types import NS_PER_S as S

STRING = "std_msgs/msg/String"


def string(text: str) -> bytes:
    types: Any = known_types().types
    return encode(types[STRING](data=text))


def write(folder: Path, seconds: Iterable[int], config: BagConfig | None = None) -> Path:
    """A bag of this package: what second it is, said twice a second on two topics."""
    said, heard = topic_of("/said", STRING), topic_of("/heard", STRING)
    with BagWriter(folder, config or BagConfig()) as bag:
        for second in seconds:
            bag.write(said, second * S, string(f"said {second}"))
            bag.write(heard, second * S + S // 2, string(f"heard {second}"))
    return folder


def write_as_others(
    folder: Path,
    storage: StoragePlugin,
    compression: CompressionMode,
    version: Any = 9,
    count: int = 20,
) -> Path:
    """The same with the rosbags library."""
    writer = Writer(folder, version=version, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        topics = [
            writer.add_connection(name, STRING, typestore=known_types())
            for name in ("/said", "/heard")
        ]
        for second in range(count):
            for number, name in enumerate(("said", "heard")):
                stamp_ns = second * S + number * S // 2
                writer.write(topics[number], stamp_ns, string(f"{name} {second}"))
    return folder


def texts(path: Path, name: str | None = None) -> list[str]:
    """What the messages of a topic, or of all, say."""
    decoder = MessageDecoder()
    with BagReader(path) as bag:
        names = None if name is None else [name]
        return [decoder.decode(recorded).data for recorded in bag.messages(names)]
