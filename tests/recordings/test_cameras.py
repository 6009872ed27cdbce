"""Finding the camera of a bag among topics that were only announced and topics of other systems."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as RosbagsWriter

from streamingvlm_ros.bags.cdr import known_types
from streamingvlm_ros.bags.playback import topics_to_play
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import SourceError
from streamingvlm_ros.recordings.recording import open_recording
from streamingvlm_ros.types import NS_PER_S as S

from ..bags.mcap_files import Fill, add_topic, foreign, write_mcap
from ..support.world_bags import BEGIN_S, COMPRESSED, RAW, SIDE_PX, WORLD, message

IMAGE = "/camera/image_raw"
SILENT = [f"{IMAGE}/{transport}" for transport in ("compressed", "compressedDepth", "theora")]
PROTOBUF = foreign("protobuf", "protobuf", definition=bytes(range(128, 256)), stamp_ns=BEGIN_S * S)


def images() -> list[tuple[int, bytes]]:
    """Return stamps and images of three seconds, two a second."""
    stamps_ns = [BEGIN_S * S + n * S // 2 for n in range(6)]
    return [(ns, message(WORLD.frame(ns / S - BEGIN_S, SIDE_PX, SIDE_PX), ns)) for ns in stamps_ns]


def camera(writer: Writer) -> None:
    channel = add_topic(writer, IMAGE, kind=RAW)
    for stamp_ns, data in images():
        writer.add_message(channel, stamp_ns, data, stamp_ns)


def announce(*names: str) -> Fill:
    def fill(writer: Writer) -> None:
        for name in names:
            add_topic(writer, name, kind=COMPRESSED)

    return fill


def begins_s(path: Path, topic: str | None = None) -> list[int]:
    """Return the seconds in which the chunks of a recording without losses begin."""
    with open_recording(path, topic) as recording:
        events = list(recording.chunks(FrameConfig()))
        assert recording.losses == {}
    return [event.start_ns // S - BEGIN_S for event in events if not isinstance(event, list)]


@pytest.mark.parametrize("index", [IndexType.ALL, IndexType.CHUNK, IndexType.NONE])
@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize("is_repeated", [True, False])
def test_an_announced_topic_without_a_message_is_no_camera(
    tmp_path: Path, index: IndexType, is_chunked: bool, is_repeated: bool
) -> None:
    for fills in ([announce(*SILENT), camera], [camera, announce(*SILENT)]):
        file = write_mcap(
            tmp_path / "a.mcap",
            *fills,
            index_types=index,
            use_chunking=is_chunked,
            use_statistics=is_repeated,
            repeat_channels=is_repeated,
            chunk_size=20_000,
        )
        assert begins_s(file) == [0, 1, 2]


def test_an_announced_topic_of_a_database_is_no_camera(tmp_path: Path) -> None:
    writer = RosbagsWriter(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3)
    with writer:
        used = writer.add_connection(IMAGE, RAW, typestore=known_types())
        for name in SILENT:
            writer.add_connection(name, COMPRESSED, typestore=known_types())
        for stamp_ns, data in images():
            writer.write(used, stamp_ns, data)
    assert begins_s(tmp_path / "bag") == [0, 1, 2]
    # Without metadata and index nothing but the messages tells which topics are used.
    (tmp_path / "bag" / "metadata.yaml").unlink()
    with closing(sqlite3.connect(tmp_path / "bag" / "bag.db3")) as database, database:
        database.execute("DROP INDEX timestamp_idx")
    assert begins_s(tmp_path / "bag") == [0, 1, 2]


def test_an_announced_topic_of_an_unfinished_file_is_no_camera(tmp_path: Path) -> None:
    file = write_mcap(
        tmp_path / "a.mcap", announce(*SILENT), camera, compression=CompressionType.NONE
    )
    data = file.read_bytes()
    file.write_bytes(data[:-50])
    with open_recording(file) as recording:
        assert len(list(recording.chunks(FrameConfig()))) == 3


def test_a_silent_topic_that_is_asked_for_is_an_error_that_names_the_camera(
    tmp_path: Path,
) -> None:
    file = write_mcap(tmp_path / "a.mcap", announce(*SILENT), camera)
    with pytest.raises(SourceError, match=rf"no message; cameras with images: {IMAGE}$"):
        begins_s(file, SILENT[0])


def test_a_bag_of_silent_topics_says_that_nothing_was_recorded(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "a.mcap", announce(IMAGE))
    with pytest.raises(SourceError, match=rf"no images: {IMAGE} was announced, but nothing"):
        begins_s(file)


def test_playback_waits_for_no_silent_camera(tmp_path: Path) -> None:
    with BagReader(write_mcap(tmp_path / "a.mcap", announce(*SILENT), camera)) as bag:
        assert [topic.name for topic in topics_to_play(bag.used_topics)] == [IMAGE]


def test_topics_of_other_systems_beside_the_camera_are_not_mentioned(tmp_path: Path) -> None:
    for fills in ([PROTOBUF, camera], [camera, PROTOBUF]):
        assert begins_s(write_mcap(tmp_path / "a.mcap", *fills, profile="")) == [0, 1, 2]


def test_without_a_camera_topics_of_other_systems_are_mentioned(tmp_path: Path) -> None:
    def text(writer: Writer) -> None:
        add_topic(writer, "/text", kind="std_msgs/msg/String")

    file = write_mcap(tmp_path / "a.mcap", PROTOBUF, text)
    with pytest.raises(SourceError, match=r"has no images; .* with protobuf messages"):
        begins_s(file)
