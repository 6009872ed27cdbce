"""Bags of this package: read by other libraries, split into files, and on a full disk."""

from __future__ import annotations

import errno
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader

from streamingvlm_ros.bags.cdr import topic_of
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.types import Topic
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.errors import BagError
from streamingvlm_ros.types import NS_PER_S as S

from .sample_bags import STRING, string, texts, write

TF_STATIC = Topic("/tf_static", STRING, qos="- {durability: transient_local}")


PACKED = {"zstd": "zstd", "lz4": "lz4", "none": ""}


@pytest.mark.parametrize("compression", PACKED)
def test_other_libraries_read_the_bag(tmp_path: Path, compression: str) -> None:
    bag = write(tmp_path / "bag", range(10), config=BagConfig(compression=compression, split_s=4))
    read = []
    for file in sorted(bag.glob("*.mcap")):
        with file.open("rb") as stream:
            reader = make_reader(stream, validate_crcs=True)
            summary = reader.get_summary()
            assert summary
            assert summary.statistics
            stamps = [m.log_time for _, _, m in reader.iter_messages()]
            assert summary.statistics.message_count == len(stamps)
            assert summary.statistics.message_start_time == stamps[0]
            assert summary.statistics.message_end_time == stamps[-1]
            assert {c.topic for c in summary.channels.values()} == {"/speech", "/echo"}
            assert {c.compression for c in summary.chunk_indexes} == {PACKED[compression]}
            read += [m.data for _, c, m in reader.iter_messages(["/speech"])]
    assert read == [string(f"speech {n}") for n in range(10)]
    with AnyReader([bag]) as reader:
        assert reader.message_count == 20
        echoes: list[Any] = [
            reader.deserialize(data, c.msgtype)
            for c, _, data in reader.messages()
            if c.topic == "/echo"
        ]
        assert [m.data for m in echoes] == [f"echo {n}" for n in range(10)]


def test_a_large_file_is_read_by_its_index(tmp_path: Path) -> None:
    speech, image = topic_of("/speech", STRING), topic_of("/image", STRING)
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        for second in range(40):
            bag.write(image, second * S, data=string(f"{second} " * 500_000))
            # Messages need not arrive in the order of their stamps.
            bag.write(speech, (39 - second) * S, data=string(f"speech {39 - second}"))
    (file,) = bag.folder.glob("*.mcap")
    with file.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary
        assert len(summary.chunk_indexes) > 5
        messages = reader.iter_messages(["/speech"], starting_at=10 * S, ending_before=13 * S)
        assert [m.data for _, _, m in messages] == [string(f"speech {n}") for n in (10, 11, 12)]
        indexed = [x for x in summary.chunk_indexes if x.message_index_length]
        assert len(indexed) == len(summary.chunk_indexes)


def test_an_unknown_type_is_written_without_definition(tmp_path: Path) -> None:
    topic = Topic("/odd", "odd_msgs/msg/Odd", encoding="", hash="RIHS01_" + 64 * "7")
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(topic, S, data=b"\0\1\0\0odd")
    with BagReader(tmp_path / "bag") as reader:
        assert [r.data for r in reader.messages()] == [b"\0\1\0\0odd"]
        assert reader.losses == {}
    with Reader(tmp_path / "bag") as others:
        (connection,) = others.connections
        assert (connection.topic, connection.msgtype) == ("/odd", "odd_msgs/msg/Odd")
        assert connection.digest == topic.hash


def test_publishers_of_one_type_may_define_it_differently(tmp_path: Path) -> None:
    old = Topic("/old", "odd_msgs/msg/Odd", "int32 a", hash="RIHS01_" + 64 * "1")
    new = Topic("/new", "odd_msgs/msg/Odd", "int32 a\nint32 b", hash="RIHS01_" + 64 * "2")
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        for topic in (old, new):
            bag.write(topic, S, data=b"\0\1\0\0\1\0\0\0\2\0\0\0")
    with BagReader(tmp_path / "bag") as reader:
        read = {topic.name: topic for topic in reader.topics}
        assert reader.losses == {}
    assert {name: topic.definition for name, topic in read.items()} == {
        "/old": old.definition,
        "/new": new.definition,
    }
    (file,) = (tmp_path / "bag").glob("*.mcap")
    with file.open("rb") as stream:
        defined = {c.topic: s.data for s, c, _ in make_reader(stream).iter_messages() if s}
    assert defined == {"/old": b"int32 a", "/new": b"int32 a\nint32 b"}


def test_the_index_has_a_checksum(tmp_path: Path) -> None:
    (file,) = write(tmp_path / "bag", range(3)).glob("*.mcap")
    data = file.read_bytes()
    # From the end: 8 bytes of magic, the checksum, and both offsets of the footer.
    begin, offsets, checksum = struct.unpack("<QQI", data[-28:-8])
    assert offsets == 0
    assert checksum == zlib.crc32(data[begin:-12])


def test_every_file_begins_with_the_transient_local_messages(tmp_path: Path) -> None:
    speech = topic_of("/speech", STRING)
    with BagWriter(tmp_path / "bag", BagConfig(split_s=2)) as bag:
        bag.write(TF_STATIC, 0, data=string("left of the door"))
        bag.write(TF_STATIC, 0, data=string("left of the door"))
        for second in range(1, 6):
            bag.write(speech, second * S, data=string(f"speech {second}"))
    files = sorted((tmp_path / "bag").glob("*.mcap"))
    assert len(files) == 3
    assert texts(files[0])[:2] == ["left of the door"] * 2
    assert texts(files[1]) == ["left of the door", "speech 2", "speech 3"]
    assert texts(files[2]) == ["left of the door", "speech 4", "speech 5"]


def test_the_oldest_file_is_dropped_but_not_the_one_being_written(tmp_path: Path) -> None:
    speech = topic_of("/speech", STRING)
    bag = BagWriter(tmp_path / "bag", BagConfig(split_s=2))
    for second in range(5):
        bag.write(speech, second * S, data=string(f"speech {second}"))
    assert bag.drop_oldest()
    assert bag.drop_oldest()
    assert not bag.drop_oldest()
    bag.write(speech, 6 * S, data=string("speech 6"))
    bag.close()
    assert [p.name for p in sorted(bag.folder.glob("*.mcap"))] == ["bag_2.mcap", "bag_3.mcap"]
    assert texts(bag.folder) == ["speech 4", "speech 6"]
    with BagReader(bag.folder) as reader:
        assert reader.losses == {}


def test_flushed_messages_stay_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = topic_of("/speech", STRING)
    bag = BagWriter(tmp_path / "bag", BagConfig(compression="none"))
    for second in range(3):
        bag.write(speech, second * S, data=string(f"speech {second}"))
    bag.flush()
    size = bag.size_bytes
    for second in range(3, 6):
        bag.write(speech, second * S, data=string(f"speech {second}"))
    file = bag._files[-1]
    # Like a disk that takes only a part of the data.
    monkeypatch.setattr(file._chunks, "end_chunk", lambda: _half(file._file))
    with pytest.raises(OSError, match="No space"):
        bag.flush()
    assert bag.size_bytes > size
    bag.abandon()
    assert bag.size_bytes == size
    assert texts(bag.folder) == [f"speech {n}" for n in range(3)]
    about = yaml.safe_load((bag.folder / "metadata.yaml").read_text())
    assert about["rosbag2_bagfile_information"]["message_count"] == 3


def test_finished_files_stay_intact_when_the_next_cannot_be_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = topic_of("/speech", STRING)
    bag = BagWriter(tmp_path / "bag", BagConfig(split_s=2))
    bag.write(speech, S, data=string("speech 1"))
    monkeypatch.setattr("streamingvlm_ros.bags.mcap_file.McapChunkWriter", _full)
    with pytest.raises(OSError, match="No space"):
        bag.write(speech, 9 * S, data=string("speech 9"))
    bag.abandon()
    with BagReader(bag.folder) as reader:
        assert len(list(reader.messages())) == 1
        assert reader.losses == {}


def test_a_bag_that_cannot_be_created_is_a_bag_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamingvlm_ros.bags.mcap_file.McapChunkWriter", _full)
    with pytest.raises(BagError, match=r"no bag can be written to .*: No space"):
        BagWriter(tmp_path / "bag", BagConfig())


def test_a_context_that_ends_with_a_disk_error_leaves_the_flushed_messages(
    tmp_path: Path,
) -> None:
    with pytest.raises(OSError, match="No space"):
        _write_until_full(tmp_path / "bag")
    assert texts(tmp_path / "bag") == ["speech 1"]


def _write_until_full(folder: Path) -> None:
    with BagWriter(folder, BagConfig()) as bag:
        bag.write(topic_of("/speech", STRING), S, data=string("speech 1"))
        bag.flush()
        _half(bag._files[-1]._file)


def _full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _half(file: Any) -> None:
    file.write(b"\x06half a chunk")
    file.flush()
    raise OSError(errno.ENOSPC, "No space left on device")
