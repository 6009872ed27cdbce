"""Bags of this package, read by others; files that follow one another; a disk that is full."""

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

LATCHED = Topic("/tf_static", STRING, qos="- {durability: transient_local}")


PACKED = {"zstd": "zstd", "lz4": "lz4", "none": ""}


@pytest.mark.parametrize("compression", PACKED)
def test_others_read_what_is_written(tmp_path: Path, compression: str) -> None:
    bag = write(tmp_path / "bag", range(10), BagConfig(compression=compression, split_s=4))
    said = []
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
            assert {c.topic for c in summary.channels.values()} == {"/said", "/heard"}
            assert {c.compression for c in summary.chunk_indexes} == {PACKED[compression]}
            said += [m.data for _, c, m in reader.iter_messages(["/said"])]
    assert said == [string(f"said {n}") for n in range(10)]
    with AnyReader([bag]) as reader:
        assert reader.message_count == 20
        heard: list[Any] = [
            reader.deserialize(data, c.msgtype)
            for c, _, data in reader.messages()
            if c.topic == "/heard"
        ]
        assert [m.data for m in heard] == [f"heard {n}" for n in range(10)]


def test_a_large_file_is_read_by_its_index(tmp_path: Path) -> None:
    said, image = topic_of("/said", STRING), topic_of("/image", STRING)
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        for second in range(40):
            bag.write(image, second * S, string(f"{second} " * 500_000))
            # They need not come in the order of time.
            bag.write(said, (39 - second) * S, string(f"said {39 - second}"))
    (file,) = bag.folder.glob("*.mcap")
    with file.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary
        assert len(summary.chunk_indexes) > 5
        found = reader.iter_messages(["/said"], starting_at=10 * S, ending_before=13 * S)
        assert [m.data for _, _, m in found] == [string(f"said {n}") for n in (10, 11, 12)]
        offsets = [x for x in summary.chunk_indexes if x.message_index_length]
        assert len(offsets) == len(summary.chunk_indexes)


def test_a_type_that_is_not_known_is_written_without_definition(tmp_path: Path) -> None:
    topic = Topic("/odd", "odd_msgs/msg/Odd", encoding="", hash="RIHS01_" + 64 * "7")
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(topic, S, b"\0\1\0\0odd")
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
            bag.write(topic, S, b"\0\1\0\0\1\0\0\0\2\0\0\0")
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
    # From the end: 8 bytes of magic, the checksum, and both places of the footer.
    begin, offsets, checksum = struct.unpack("<QQI", data[-28:-8])
    assert offsets == 0
    assert checksum == zlib.crc32(data[begin:-12])


def test_every_file_begins_with_what_latched_topics_said(tmp_path: Path) -> None:
    said = topic_of("/said", STRING)
    with BagWriter(tmp_path / "bag", BagConfig(split_s=2)) as bag:
        bag.write(LATCHED, 0, string("left of the door"))
        bag.write(LATCHED, 0, string("left of the door"))
        for second in range(1, 6):
            bag.write(said, second * S, string(f"said {second}"))
    files = sorted((tmp_path / "bag").glob("*.mcap"))
    assert len(files) == 3
    assert texts(files[0])[:2] == ["left of the door"] * 2
    assert texts(files[1]) == ["left of the door", "said 2", "said 3"]
    assert texts(files[2]) == ["left of the door", "said 4", "said 5"]


def test_the_oldest_file_is_dropped_but_not_the_one_that_is_written(tmp_path: Path) -> None:
    said = topic_of("/said", STRING)
    bag = BagWriter(tmp_path / "bag", BagConfig(split_s=2))
    for second in range(5):
        bag.write(said, second * S, string(f"said {second}"))
    assert bag.drop_oldest()
    assert bag.drop_oldest()
    assert not bag.drop_oldest()
    bag.write(said, 6 * S, string("said 6"))
    bag.close()
    assert [p.name for p in sorted(bag.folder.glob("*.mcap"))] == ["bag_2.mcap", "bag_3.mcap"]
    assert texts(bag.folder) == ["said 4", "said 6"]
    with BagReader(bag.folder) as reader:
        assert reader.losses == {}


def test_what_was_flushed_stays_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = topic_of("/said", STRING)
    bag = BagWriter(tmp_path / "bag", BagConfig(compression="none"))
    for second in range(3):
        bag.write(said, second * S, string(f"said {second}"))
    bag.flush()
    size = bag.size_bytes
    for second in range(3, 6):
        bag.write(said, second * S, string(f"said {second}"))
    file = bag._files[-1]
    # As where the disk takes a part of what it is given.
    monkeypatch.setattr(file._chunks, "end", lambda: _half(file._file))
    with pytest.raises(OSError, match="No space"):
        bag.flush()
    assert bag.size_bytes > size
    bag.abandon()
    assert bag.size_bytes == size
    assert texts(bag.folder) == [f"said {n}" for n in range(3)]
    about = yaml.safe_load((bag.folder / "metadata.yaml").read_text())
    assert about["rosbag2_bagfile_information"]["message_count"] == 3


def test_files_that_were_finished_stay_so_when_the_next_cannot_be_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = topic_of("/said", STRING)
    bag = BagWriter(tmp_path / "bag", BagConfig(split_s=2))
    bag.write(said, S, string("said 1"))
    monkeypatch.setattr("streamingvlm_ros.bags.mcap_file.McapChunkWriter", _full)
    with pytest.raises(OSError, match="No space"):
        bag.write(said, 9 * S, string("said 9"))
    bag.abandon()
    with BagReader(bag.folder) as reader:
        assert len(list(reader.messages())) == 1
        assert reader.losses == {}


def test_a_bag_that_cannot_be_begun_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamingvlm_ros.bags.mcap_file.McapChunkWriter", _full)
    with pytest.raises(BagError, match=r"no bag can be written to .*: No space"):
        BagWriter(tmp_path / "bag", BagConfig())


def test_a_context_that_ends_with_an_error_of_the_disk_leaves_what_was_flushed(
    tmp_path: Path,
) -> None:
    with pytest.raises(OSError, match="No space"):
        _write_until_full(tmp_path / "bag")
    assert texts(tmp_path / "bag") == ["said 1"]


def _write_until_full(folder: Path) -> None:
    with BagWriter(folder, BagConfig()) as bag:
        bag.write(topic_of("/said", STRING), S, string("said 1"))
        bag.flush()
        _half(bag._files[-1]._file)


def _full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _half(file: Any) -> None:
    file.write(b"\x06half a chunk")
    file.flush()
    raise OSError(errno.ENOSPC, "No space left on device")
