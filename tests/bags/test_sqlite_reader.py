"""SQLite files in WAL mode, of other versions, and with foreign topics."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.sqlite_reader import DatabaseReader
from streamingvlm_ros.types import NS_PER_S as S

from .mcap_files import stamps_and_losses
from .sample_bags import string, texts, write_with_rosbags

ROW = "INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)"
NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a database of 20 messages a topic, in WAL mode."""
    bag = write_with_rosbags(
        tmp_path / "bag", StoragePlugin.SQLITE3, compression=CompressionMode.NONE
    )
    with closing(sqlite3.connect(bag / "bag.db3")) as database:
        database.execute("PRAGMA journal_mode = WAL")
    return bag / "bag.db3"


def log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def kill_recorder(file: Path, folder: Path, *, checkpoint: str = "", commit: bool = True) -> Path:
    """Copy a database and its log while a recorder adds a message to it."""
    folder.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        database.execute(ROW, (20 * S, string("speech 20" + "!" * 20_000)))
        if commit:
            database.execute("COMMIT")
        if checkpoint:
            database.execute(f"PRAGMA wal_checkpoint({checkpoint})")
        for path in (file, log_of(file)):
            shutil.copy(path, folder)
    return folder / file.name


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_log_that_a_reader_left_behind_is_no_damage(file: Path) -> None:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as reader:
        reader.execute("SELECT count(*) FROM messages").fetchone()
    assert log_of(file).stat().st_size == 0
    stamps_ns, losses = stamps_and_losses(file.parent)
    assert (len(stamps_ns), losses) == (40, {})


@pytest.mark.parametrize("content", [b"", bytes(32), b"no log at all, but 32 bytes long", None])
def test_a_log_without_a_page_is_no_damage(file: Path, content: bytes | None) -> None:
    if content is None:  # only the index of a log
        file.with_name(f"{file.name}-shm").write_bytes(bytes(32768))
    else:
        log_of(file).write_bytes(content)
    before = files(file.parent)
    stamps_ns, losses = stamps_and_losses(file)
    assert (len(stamps_ns), losses) == (40, {})
    assert files(file.parent) == before


@pytest.mark.parametrize("checkpoint", ["PASSIVE", "FULL", "RESTART"])
def test_a_log_whose_pages_are_all_in_the_file_is_no_damage(
    file: Path, tmp_path: Path, checkpoint: str
) -> None:
    copy = kill_recorder(file, tmp_path / "copy", checkpoint=checkpoint)
    assert log_of(copy).stat().st_size
    stamps_ns, losses = stamps_and_losses(copy)
    assert (len(stamps_ns), losses) == (41, {})


def test_an_uncommitted_message_in_the_log_is_no_damage(file: Path, tmp_path: Path) -> None:
    copy = kill_recorder(file, tmp_path / "copy", commit=False)
    stamps_ns, losses = stamps_and_losses(copy)
    assert (len(stamps_ns), losses) == (40, {})


def test_a_killed_recorders_log_is_read_and_reported(file: Path, tmp_path: Path) -> None:
    copy = kill_recorder(file, tmp_path / "copy")
    stamps_ns, losses = stamps_and_losses(copy)
    assert len(stamps_ns) == 41
    assert "did not finish" in losses["bag.db3"]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only for this process, also if it runs as root."""
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(NOBODY)
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.parametrize("is_unfinished", [False, True])
def test_a_database_in_a_read_only_folder_is_read(file: Path, is_unfinished: bool) -> None:
    # Parents of tmp_path are closed to other users.
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        checkpoint = "" if is_unfinished else "FULL"
        copy = kill_recorder(file, folder / "copy", checkpoint=checkpoint)
        with read_only(copy.parent):
            stamps_ns, losses = stamps_and_losses(copy)
        assert len(stamps_ns) == (40 if is_unfinished else 41)
        assert ("copy the bag to a folder that is writable" in str(losses)) == is_unfinished


@pytest.mark.parametrize("name", ["a?b.db3", "50%20.db3", "a#b.db3", "ä b.db3"])
def test_any_file_name_can_be_opened(file: Path, name: str) -> None:
    assert len(texts(file.rename(file.with_name(name)))) == 40


@pytest.mark.parametrize("encoding", ["", "unknown", "protobuf"])
def test_a_definition_in_an_unknown_language_is_no_damage(file: Path, encoding: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE message_definitions SET encoding = ?", (encoding,))
    assert texts(file, "/speech")[0] == "speech 0"
    assert stamps_and_losses(file)[1] == {}


def test_a_topic_in_another_encoding_is_left_out_without_a_word(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE topics SET serialization_format = 'json' WHERE name = '/echo'")
    with BagReader(file) as reader:
        assert [topic.name for topic in reader.topics] == ["/speech"]
        assert reader.foreign == ("json",)
        assert len(list(reader.messages())) == 20
        assert reader.losses == {}


def test_stamps_before_1970_are_read(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE messages SET timestamp = timestamp - ?", (100 * S,))
    stamps_ns, losses = stamps_and_losses(file)
    assert (stamps_ns[0], len(stamps_ns), losses) == (-100 * S, 40, {})


def test_a_broken_index_of_stamps_loses_no_message(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        (page,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'timestamp_idx'"
        ).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as data:
        data.seek((page - 1) * size)
        data.write(b"\xff" * size)
    stamps_ns, losses = stamps_and_losses(file)
    assert (len(stamps_ns), losses) == (40, {})
    assert not DatabaseReader(file).is_intact()
