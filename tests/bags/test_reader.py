"""Bags that others made, whole and broken."""

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

from .sample_bags import STRING, string, texts, write, write_as_others

SAID, HEARD = topic_of("/said", STRING), topic_of("/heard", STRING)
MCAP, SQLITE3 = StoragePlugin.MCAP, StoragePlugin.SQLITE3
NONE, FILE = CompressionMode.NONE, CompressionMode.FILE
MESSAGE, STORAGE = CompressionMode.MESSAGE, CompressionMode.STORAGE


def write_in_chunks(folder: Path, seconds: Iterable[int], late: Topic | None = None) -> Path:
    """A bag with a chunk for each second; the topic `late` comes up in one of its own."""
    with BagWriter(folder, BagConfig(compression="none")) as bag:
        for second in seconds:
            bag.write(SAID, second * S, string(f"said {second}"))
            bag.write(HEARD, second * S + S // 2, string(f"heard {second}"))
            bag.flush()
        if late:
            bag.write(late, (second + 1) * S, string("at last"))
    return folder


def damage(file: Path, *seconds: int) -> None:
    """Change a letter in the chunks of these seconds."""
    data = file.read_bytes()
    for second in seconds:
        assert data.count(b"said %d" % second) == 1
        data = data.replace(b"said %d" % second, b"sa1d %d" % second)
    file.write_bytes(data)


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        *[(MCAP, NONE), (MCAP, FILE), (MCAP, MESSAGE), (MCAP, STORAGE)],
        *[(SQLITE3, NONE), (SQLITE3, FILE), (SQLITE3, MESSAGE)],
    ],
)
def test_bags_of_every_storage_and_compression(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode, version: int
) -> None:
    bag = write_as_others(tmp_path / "bag", storage, compression, version)
    with BagReader(bag) as reader:
        assert [t.name for t in reader.topics] == ["/heard", "/said"]
        recorded = list(reader.messages(["/said"]))
        assert [r.stamp_ns for r in recorded] == [n * S for n in range(20)]
        assert [r.data for r in recorded] == [string(f"said {n}") for n in range(20)]
        assert len(list(reader.messages())) == 40
        assert reader.losses == {}
    assert texts(bag, "/heard") == [f"heard {n}" for n in range(20)]


@pytest.mark.parametrize("storage", [MCAP, SQLITE3])
def test_a_single_file_is_read_without_its_folder(tmp_path: Path, storage: StoragePlugin) -> None:
    bag = write_as_others(tmp_path / "bag", storage, NONE)
    (file,) = (p for p in bag.iterdir() if p.name != "metadata.yaml")
    assert len(texts(file)) == 40


def test_the_parts_of_a_bag_follow_one_another_also_without_metadata(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(24), BagConfig(split_s=2))
    assert len(list(bag.glob("*.mcap"))) == 12
    expected = [f"said {n}" for n in range(24)]
    assert texts(bag, "/said") == expected
    (bag / "metadata.yaml").unlink()
    assert texts(bag, "/said") == expected
    (bag / "metadata.yaml").write_text("half a [line")
    assert texts(bag, "/said") == expected


def test_a_file_that_is_gone_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(6), BagConfig(split_s=2))
    (bag / "bag_1.mcap").unlink()
    with BagReader(bag) as reader:
        assert len(list(reader.messages(["/said"]))) == 4
        assert list(reader.losses) == ["bag_1.mcap"]
        assert "No such file" in reader.losses["bag_1.mcap"]


@pytest.mark.parametrize("compression", [NONE, FILE, STORAGE])
def test_an_mcap_file_that_was_cut_short_is_read_as_far_as_it_goes(
    tmp_path: Path, compression: CompressionMode
) -> None:
    write_as_others(tmp_path / "bag", MCAP, compression, count=30_000)
    (file,) = (tmp_path / "bag").glob("bag.mcap*")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(0.7 * len(whole))])
    with BagReader(tmp_path / "bag") as reader:
        heard = [recorded.data for recorded in reader.messages(["/said"])]
        assert "read as far as it goes" in reader.losses[file.name]
    assert 10_000 < len(heard) < 30_000
    assert heard == [string(f"said {n}") for n in range(len(heard))]


def test_a_file_whose_only_chunk_is_damaged_is_left_out_and_told(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(8), BagConfig(split_s=4, compression="none"))
    damage(bag / "bag_0.mcap", 3)
    with BagReader(bag) as reader:
        for _ in range(2):
            heard = [recorded.data for recorded in reader.messages(["/said"])]
            assert heard == [string(f"said {n}") for n in range(4, 8)]
            assert reader.losses["bag_0.mcap"].startswith("1 damaged chunk(s) left out")
            assert reader.losses["bag_0.mcap"].endswith(": 4 of /heard, 4 of /said")


@pytest.mark.parametrize("seconds", [(0,), (4,), (9,), (4, 5), (2, 7)])
def test_what_comes_after_a_damaged_chunk_is_read_and_its_loss_told(
    tmp_path: Path, seconds: tuple[int, ...]
) -> None:
    bag = write_in_chunks(tmp_path / "bag", range(10))
    damage(bag / "bag_0.mcap", *seconds)
    expected = [string(f"said {n}") for n in range(10) if n not in seconds]
    with BagReader(bag) as reader:
        for _ in range(2):
            assert [recorded.data for recorded in reader.messages(["/said"])] == expected
        since = [recorded.data for recorded in reader.messages(["/said"], since_ns=3 * S)]
        assert since == [data for data in expected if data >= string("said 3")]
        (why,) = reader.losses.values()
    count, first, last = len(seconds), min(seconds), max(seconds)
    assert why == (
        f"{count} damaged chunk(s) left out, between {first}.0 s and {last}.5 s after its "
        f"beginning; messages lost with them: {count} of /heard, {count} of /said"
    )


def test_two_who_read_the_same_damaged_file_at_once_both_read_on(tmp_path: Path) -> None:
    bag = write_in_chunks(tmp_path / "bag", range(10))
    damage(bag / "bag_0.mcap", 4)
    with BagReader(bag) as reader:
        pairs = list(zip(reader.messages(["/said"]), reader.messages(["/said"]), strict=True))
    assert all(one == other for one, other in pairs)
    assert len(pairs) == 9


def test_a_damaged_chunk_of_a_file_that_was_never_finished_is_left_out_and_told(
    tmp_path: Path,
) -> None:
    bag = write_in_chunks(tmp_path / "bag", range(10))
    file = bag / "bag_0.mcap"
    damage(file, 4)
    file.write_bytes(file.read_bytes()[:-100])
    with BagReader(bag) as reader:
        heard = [recorded.data for recorded in reader.messages(["/said"])]
        (why,) = reader.losses.values()
    assert heard == [string(f"said {n}") for n in range(10) if n != 4]
    assert why.endswith(
        "; 1 damaged chunk(s) left out, between 4.0 s and 4.5 s after its beginning"
    )
    assert why.startswith("unfinished or damaged")


def test_messages_whose_topic_was_announced_in_a_damaged_chunk_are_counted(
    tmp_path: Path,
) -> None:
    bag = write_in_chunks(tmp_path / "bag", range(10), topic_of("/late", "std_msgs/msg/Empty"))
    file = bag / "bag_0.mcap"
    damage(file, 0)
    file.write_bytes(file.read_bytes()[:-100])
    with BagReader(bag) as reader:
        heard = [(r.topic.name, r.data) for r in reader.messages()]
        (why,) = reader.losses.values()
    assert heard == [("/late", string("at last"))]
    assert why.endswith("; messages lost with them: 18 of topics that were announced in them")


def test_a_file_that_is_listed_twice_is_read_once(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(4), BagConfig(split_s=2))
    about = yaml.safe_load((bag / "metadata.yaml").read_text())
    about["rosbag2_bagfile_information"]["relative_file_paths"] *= 2
    (bag / "metadata.yaml").write_text(yaml.safe_dump(about))
    assert texts(bag, "/said") == [f"said {n}" for n in range(4)]


def test_a_database_whose_recorder_was_killed_is_read_with_what_was_not_merged(
    tmp_path: Path,
) -> None:
    write_as_others(tmp_path / "bag", SQLITE3, NONE)
    killed = tmp_path / "killed"
    killed.mkdir()
    with closing(sqlite3.connect(tmp_path / "bag" / "bag.db3", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        row = (1, 20 * S, string("said 20"))
        database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", row)
        for path in (tmp_path / "bag").glob("bag.db3*"):
            shutil.copy(path, killed)
    with BagReader(killed) as reader:
        assert [r.data for r in reader.messages(["/said"])][-1] == string("said 20")
        assert "did not finish" in reader.losses["bag.db3"]


def test_a_damaged_database_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    write_as_others(tmp_path / "bag", SQLITE3, NONE, count=3000)
    file = tmp_path / "bag" / "bag.db3"
    whole = bytearray(file.read_bytes())
    page = 4096 * (len(whole) // 4096 * 3 // 4)
    whole[page : page + 4096] = b"\xff" * 4096
    file.write_bytes(whole)
    with BagReader(tmp_path / "bag") as reader:
        heard = [recorded.data for recorded in reader.messages(["/said"])]
        assert list(reader.losses) == ["bag.db3"]
    assert len(heard) > 500
    assert heard == [string(f"said {n}") for n in range(len(heard))]


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda p: None, "there is no"),
        (lambda p: p.mkdir(), "is no ROS 2 bag"),
        (lambda p: p.write_text("a letter"), "is no ROS 2 bag"),
    ],
)
def test_what_is_no_bag(tmp_path: Path, made: object, why: str) -> None:
    made(tmp_path / "bag")  # type: ignore[operator]
    with pytest.raises(BagError, match=why):
        BagReader(tmp_path / "bag")


def test_a_bag_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "bag.mcap").write_text("a letter")
    with pytest.raises(BagError) as said:
        BagReader(tmp_path / "bag.mcap")
    assert str(said.value) == (
        f"nothing of {tmp_path / 'bag.mcap'} can be read: this is no MCAP file (bag.mcap)"
    )


def test_a_bag_whose_files_are_gone_says_so_in_one_sentence(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(4), BagConfig(split_s=2))
    for file in bag.glob("*.mcap"):
        file.unlink()
    with pytest.raises(BagError) as said:
        BagReader(bag)
    assert str(said.value) == (
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
INSERT INTO topics VALUES (1, '/said', 'std_msgs/msg/String', 'cdr', '');
"""
"""What rosbag2 of ROS 2 Humble makes: it keeps no definitions of messages."""


def test_a_database_of_humble_is_read_with_the_definitions_of_today(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db3", isolation_level=None)) as database:
        database.executescript(HUMBLE)
        rows = [(n * S, string(f"said {n}")) for n in range(3)]
        database.executemany("INSERT INTO messages VALUES (NULL, 1, ?, ?)", rows)
    assert texts(tmp_path / "old.db3") == ["said 0", "said 1", "said 2"]
    with BagReader(tmp_path) as reader:
        assert reader.losses == {}
