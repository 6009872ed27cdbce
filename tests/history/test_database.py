"""Files that are opened as a history, and files that are refused and left unchanged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from streamingvlm_ros.errors import HistoryError
from streamingvlm_ros.history.config import HistoryConfig
from streamingvlm_ros.history.database import SCHEMA_VERSION, transaction
from streamingvlm_ros.history.store import DATABASE_FILE, History

from .fixtures import narrate, opened, texts


def refusal(folder: Path) -> str:
    """Return why opening fails: twice, because the first attempt must release everything."""
    for _ in range(2):
        with pytest.raises(HistoryError) as error:
            History(folder, HistoryConfig())
    return str(error.value)


def test_a_file_that_is_no_database_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).write_bytes(b"holiday pictures " * 1000)
    assert "move it away" in refusal(tmp_path)
    assert (tmp_path / DATABASE_FILE).read_bytes() == b"holiday pictures " * 1000


def test_a_database_with_holes_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        narrate(history, 0, text="one")
    checked_row = (tmp_path / DATABASE_FILE).read_bytes()
    (tmp_path / DATABASE_FILE).write_bytes(checked_row[:4096] + b"\0" * (len(checked_row) - 4096))
    assert "move it away" in refusal(tmp_path)


def test_a_database_whose_tables_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    checked_row = (tmp_path / DATABASE_FILE).read_bytes()
    # The database quotes this byte, which is no UTF-8.
    (tmp_path / DATABASE_FILE).write_bytes(checked_row.replace(b"TABLE entry", b"T\xffBLE entry"))
    assert "move it away" in refusal(tmp_path)


def test_a_history_of_a_newer_version_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        narrate(history, 0, text="one")
    set_version(tmp_path, SCHEMA_VERSION + 1)
    assert "newer version" in refusal(tmp_path)
    set_version(tmp_path, SCHEMA_VERSION)
    with opened(tmp_path) as history:
        assert texts(history) == ["one"]


def set_version(folder: Path, version: int) -> None:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as database:
        database.execute(f"PRAGMA user_version = {version}")


def test_another_programs_database_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database:
        database.execute("CREATE TABLE bills (amount INTEGER)")
    before = (tmp_path / DATABASE_FILE).read_bytes()
    assert "not a history" in refusal(tmp_path)
    assert (tmp_path / DATABASE_FILE).read_bytes() == before


def test_a_database_locked_by_another_program_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert "no other program holds it" in refusal(tmp_path)
        database.execute("COMMIT")
        with opened(tmp_path) as history:
            assert texts(history) == []


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).mkdir()
    assert "unable to open" in refusal(tmp_path)


def test_the_file_of_a_history_can_shrink(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database:
        incremental = 2
        assert database.execute("PRAGMA auto_vacuum").fetchone()[0] == incremental


def fail_half_way(database: sqlite3.Connection) -> None:
    with transaction(database):
        database.execute("INSERT INTO word VALUES ('half')")
        raise ZeroDivisionError


def test_a_transaction_is_committed_completely_or_not_at_all(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "file", isolation_level=None)
    database.execute("CREATE TABLE word (text)")
    with transaction(database):
        database.execute("INSERT INTO word VALUES ('complete')")
    with pytest.raises(ZeroDivisionError):
        fail_half_way(database)
    with transaction(database):
        database.execute("INSERT INTO word VALUES ('next')")
    assert database.execute("SELECT text FROM word").fetchall() == [("complete",), ("next",)]
    database.close()
