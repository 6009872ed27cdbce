"""Reading bags of other writers, complete and damaged."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from streamingvlm_ros.bags.cdr import topic_of
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.types import Topic
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.errors import BagError
from streamingvlm_ros.types import NS_PER_S as S

from .sample_bags import STRING, string, texts, write, write_with_rosbags

SPEECH, ECHO = topic_of("/speech", STRING), topic_of("/echo", STRING)
MCAP, SQLITE3 = StoragePlugin.MCAP, StoragePlugin.SQLITE3
NONE, FILE = CompressionMode.NONE, CompressionMode.FILE
DATA_END = b"\x0f\x04" + bytes(7)
"""First bytes of the record between messages and summary."""
MESSAGE, STORAGE = CompressionMode.MESSAGE, CompressionMode.STORAGE


def write_in_chunks(folder: Path, seconds: Iterable[int], *, late: Topic | None = None) -> Path:
    """Write a bag with a chunk for each second; the topic `late` first appears in the last."""
    with BagWriter(folder, BagConfig(compression="none")) as bag:
        for second in seconds:
            bag.write(SPEECH, second * S, data=string(f"speech {second}"))
            bag.write(ECHO, second * S + S // 2, data=string(f"echo {second}"))
            bag.flush()
        if late:
            bag.write(late, (second + 1) * S, data=string("at last"))
    return folder


def damage(file: Path, *seconds: int) -> None:
    """Change a character in the chunks of these seconds."""
    data = file.read_bytes()
    for second in seconds:
        assert data.count(b"speech %d" % second) == 1
        data = data.replace(b"speech %d" % second, b"spe3ch %d" % second)
    file.write_bytes(data)


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        *[(MCAP, NONE), (MCAP, FILE), (MCAP, MESSAGE), (MCAP, STORAGE)],
        *[(SQLITE3, NONE), (SQLITE3, FILE), (SQLITE3, MESSAGE)],
    ],
)
def test_every_storage_and_compression_is_read(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode, version: int
) -> None:
    bag = write_with_rosbags(tmp_path / "bag", storage, compression=compression, version=version)
    with BagReader(bag) as reader:
        assert [t.name for t in reader.topics] == ["/echo", "/speech"]
        messages = list(reader.messages(["/speech"]))
        assert [r.stamp_ns for r in messages] == [n * S for n in range(20)]
        assert [r.data for r in messages] == [string(f"speech {n}") for n in range(20)]
        assert len(list(reader.messages())) == 40
        assert reader.losses == {}
    assert texts(bag, "/echo") == [f"echo {n}" for n in range(20)]


@pytest.mark.parametrize("storage", [MCAP, SQLITE3])
def test_a_single_file_is_read_without_its_folder(tmp_path: Path, storage: StoragePlugin) -> None:
    bag = write_with_rosbags(tmp_path / "bag", storage, compression=NONE)
    (file,) = (p for p in bag.iterdir() if p.name != "metadata.yaml")
    assert len(texts(file)) == 40


def test_the_files_of_a_bag_are_read_in_order_also_without_metadata(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(24), config=BagConfig(split_s=2))
    assert len(list(bag.glob("*.mcap"))) == 12
    expected = [f"speech {n}" for n in range(24)]
    assert texts(bag, "/speech") == expected
    (bag / "metadata.yaml").unlink()
    assert texts(bag, "/speech") == expected
    (bag / "metadata.yaml").write_text("half a [line")
    assert texts(bag, "/speech") == expected


def test_a_missing_file_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(6), config=BagConfig(split_s=2))
    (bag / "bag_1.mcap").unlink()
    with BagReader(bag) as reader:
        assert len(list(reader.messages(["/speech"]))) == 4
        assert list(reader.losses) == ["bag_1.mcap"]
        assert "No such file" in reader.losses["bag_1.mcap"]


@pytest.mark.parametrize("compression", [NONE, FILE, STORAGE])
def test_a_truncated_mcap_file_is_read_as_far_as_possible(
    tmp_path: Path, compression: CompressionMode
) -> None:
    # Large texts, so that few messages make several chunks.
    padding = " " + "na" * 250
    write_with_rosbags(tmp_path / "bag", MCAP, compression=compression, count=3000, padding=padding)
    (file,) = (tmp_path / "bag").glob("bag.mcap*")
    data = file.read_bytes()
    file.write_bytes(data[: int(0.7 * len(data))])
    with BagReader(tmp_path / "bag") as reader:
        read = [message.data for message in reader.messages(["/speech"])]
        assert "read as far as it goes" in reader.losses[file.name]
    assert 1000 < len(read) < 3000
    assert read == [string(f"speech {n}{padding}") for n in range(len(read))]


def test_a_file_whose_only_chunk_is_damaged_is_left_out_and_reported(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(8), config=BagConfig(split_s=4, compression="none"))
    damage(bag / "bag_0.mcap", 3)
    with BagReader(bag) as reader:
        for _ in range(2):
            read = [message.data for message in reader.messages(["/speech"])]
            assert read == [string(f"speech {n}") for n in range(4, 8)]
            assert reader.losses["bag_0.mcap"].startswith("1 damaged chunk(s) left out")
            assert reader.losses["bag_0.mcap"].endswith(": 4 of /echo, 4 of /speech")


@pytest.mark.parametrize("seconds", [(0,), (4,), (9,), (4, 5), (2, 7)])
def test_messages_after_a_damaged_chunk_are_read_and_its_loss_is_reported(
    tmp_path: Path, seconds: tuple[int, ...]
) -> None:
    bag = write_in_chunks(tmp_path / "bag", range(10))
    damage(bag / "bag_0.mcap", *seconds)
    expected = [string(f"speech {n}") for n in range(10) if n not in seconds]
    with BagReader(bag) as reader:
        for _ in range(2):
            assert [message.data for message in reader.messages(["/speech"])] == expected
        since = [message.data for message in reader.messages(["/speech"], since_ns=3 * S)]
        assert since == [data for data in expected if data >= string("speech 3")]
        (reason,) = reader.losses.values()
    count, first, last = len(seconds), min(seconds), max(seconds)
    assert reason == (
        f"{count} damaged chunk(s) left out, between {first}.0 s and {last}.5 s after its "
        f"beginning; messages lost with them: {count} of /echo, {count} of /speech"
    )


def test_two_iterators_over_a_damaged_file_both_continue(tmp_path: Path) -> None:
    bag = write_in_chunks(tmp_path / "bag", range(10))
    damage(bag / "bag_0.mcap", 4)
    with BagReader(bag) as reader:
        pairs = list(zip(reader.messages(["/speech"]), reader.messages(["/speech"]), strict=True))
    assert all(one == other for one, other in pairs)
    assert len(pairs) == 9


def test_a_damaged_chunk_of_an_unfinished_file_is_left_out_and_reported(
    tmp_path: Path,
) -> None:
    bag = write_in_chunks(tmp_path / "bag", range(10))
    file = bag / "bag_0.mcap"
    damage(file, 4)
    file.write_bytes(file.read_bytes()[:-100])
    with BagReader(bag) as reader:
        read = [message.data for message in reader.messages(["/speech"])]
        (reason,) = reader.losses.values()
    assert read == [string(f"speech {n}") for n in range(10) if n != 4]
    assert reason.endswith(
        "; 1 damaged chunk(s) left out, between 4.0 s and 4.5 s after its beginning; "
        "messages lost with them: 1 of /echo, 1 of /speech"
    )
    assert reason.startswith("unfinished or damaged")


def test_messages_whose_topic_was_announced_in_a_damaged_chunk_are_counted(
    tmp_path: Path,
) -> None:
    bag = write_in_chunks(tmp_path / "bag", range(10), late=topic_of("/late", "std_msgs/msg/Empty"))
    file = bag / "bag_0.mcap"
    damage(file, 0)
    data = file.read_bytes()
    file.write_bytes(data[: data.rindex(DATA_END)])  # The summary would repeat the topics.
    with BagReader(bag) as reader:
        read = [(r.topic.name, r.data) for r in reader.messages()]
        (reason,) = reader.losses.values()
    assert read == [("/late", string("at last"))]
    assert reason.endswith("; messages lost with them: 18 of topics that were announced in them")


def test_a_file_that_is_listed_twice_is_read_once(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(4), config=BagConfig(split_s=2))
    about = yaml.safe_load((bag / "metadata.yaml").read_text())
    about["rosbag2_bagfile_information"]["relative_file_paths"] *= 2
    (bag / "metadata.yaml").write_text(yaml.safe_dump(about))
    assert texts(bag, "/speech") == [f"speech {n}" for n in range(4)]


def test_a_database_of_a_killed_recorder_is_read_with_its_write_ahead_log(
    tmp_path: Path,
) -> None:
    write_with_rosbags(tmp_path / "bag", SQLITE3, compression=NONE)
    killed = tmp_path / "killed"
    killed.mkdir()
    with closing(sqlite3.connect(tmp_path / "bag" / "bag.db3", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        row = (1, 20 * S, string("speech 20"))
        database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", row)
        for path in (tmp_path / "bag").glob("bag.db3*"):
            shutil.copy(path, killed)
    with BagReader(killed) as reader:
        assert [r.data for r in reader.messages(["/speech"])][-1] == string("speech 20")
        assert "did not finish" in reader.losses["bag.db3"]


def test_a_damaged_database_is_read_as_far_as_possible(tmp_path: Path) -> None:
    write_with_rosbags(tmp_path / "bag", SQLITE3, compression=NONE, count=3000)
    file = tmp_path / "bag" / "bag.db3"
    data = bytearray(file.read_bytes())
    page = 4096 * (len(data) // 4096 * 3 // 4)
    data[page : page + 4096] = b"\xff" * 4096
    file.write_bytes(data)
    with BagReader(tmp_path / "bag") as reader:
        read = [message.data for message in reader.messages(["/speech"])]
        assert list(reader.losses) == ["bag.db3"]
    assert len(read) > 500
    assert read == [string(f"speech {n}") for n in range(len(read))]


@pytest.mark.parametrize(
    ("create", "error"),
    [
        (lambda p: None, "there is no"),
        (lambda p: p.mkdir(), "is not a ROS 2 bag"),
        (lambda p: p.write_text("a letter"), "is not a ROS 2 bag"),
    ],
)
def test_a_path_without_a_bag_is_an_error(tmp_path: Path, create: object, error: str) -> None:
    create(tmp_path / "bag")  # type: ignore[operator]
    with pytest.raises(BagError, match=error):
        BagReader(tmp_path / "bag")


def test_a_bag_without_a_readable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bag.mcap").write_text("a letter")
    with pytest.raises(BagError) as error:
        BagReader(tmp_path / "bag.mcap")
    assert str(error.value) == (
        f"nothing of {tmp_path / 'bag.mcap'} can be read: this is no MCAP file (bag.mcap)"
    )


def test_a_bag_whose_files_are_missing_is_one_error_of_one_sentence(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(4), config=BagConfig(split_s=2))
    for file in bag.glob("*.mcap"):
        file.unlink()
    with pytest.raises(BagError) as error:
        BagReader(bag)
    assert str(error.value) == (
        f"nothing of {bag} can be read: No such file or directory (bag_0.mcap), "
        "No such file or directory (bag_1.mcap)"
    )


HUMBLE = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL,
    metadata TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
    serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,
    timestamp INTEGER NOT NULL, data BLOB NOT NULL);
INSERT INTO schema VALUES (3, 'humble');
INSERT INTO topics VALUES (1, '/speech', 'std_msgs/msg/String', 'cdr', '');
"""
"""Schema of rosbag2 in ROS 2 Humble, which stores no message definitions."""


def test_a_database_of_humble_is_read_with_todays_definitions(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db3", isolation_level=None)) as database:
        database.executescript(HUMBLE)
        rows = [(n * S, string(f"speech {n}")) for n in range(3)]
        database.executemany("INSERT INTO messages VALUES (NULL, 1, ?, ?)", rows)
    assert texts(tmp_path / "old.db3") == ["speech 0", "speech 1", "speech 2"]
    with BagReader(tmp_path) as reader:
        assert reader.losses == {}


def test_a_closed_bag_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with BagReader(write_in_chunks(tmp_path / "bag", range(3))) as bag:
        started = bag.messages()
    for messages in (started, bag.messages()):
        with pytest.raises(BagError, match="closed: open it again"):
            next(messages)
    assert not bag.losses
