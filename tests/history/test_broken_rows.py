"""A database that another program changed: any broken row is a HistoryError."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from streamingvlm_ros.errors import HistoryError
from streamingvlm_ros.history.store import DATABASE_FILE, Entry
from streamingvlm_ros.types import NS_PER_S as S

from .fixtures import narrate, opened, seconds, texts

BROKEN = r"can't be read.* restart the node"


def fill(folder: Path) -> None:
    """Store narrations; those of even seconds have a picture."""
    with opened(folder) as history:
        for second, text in enumerate(["a red ball", "a lion", "a red ball", "a red cube"]):
            narrate(history, second, text=text)


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / DATABASE_FILE, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def test_the_index_names_missing_entries(tmp_path: Path) -> None:
    fill(tmp_path)
    change(tmp_path, "DROP TRIGGER entry_dropped", "DELETE FROM entry")
    with opened(tmp_path) as history:
        assert texts(history) == []
        with pytest.raises(HistoryError, match=BROKEN):
            history.entries(words="ball")
        assert seconds(history.moments("ball", 2)) == [0, 2]


def test_the_index_names_an_entry_with_another_number(tmp_path: Path) -> None:
    fill(tmp_path)
    change(tmp_path, "UPDATE entry SET id = 70 WHERE id = 1")
    with opened(tmp_path) as history:
        assert len(texts(history)) == 4
        with pytest.raises(HistoryError, match=BROKEN):
            history.entries(words="ball")
        assert seconds(history.moments("ball", 2)) == [2]
        narrate(history, 9, text="a red door")
        history.flush()
        assert (texts(history)[-1], history.failure) == ("a red door", "")


def test_the_index_names_missing_pictures(tmp_path: Path) -> None:
    fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database:
        query = "SELECT rootpage, sql FROM sqlite_master WHERE name = 'picture_stamp'"
        page, sql = database.execute(query).fetchone()
    # Remove the index while the pictures are deleted.
    writable = "PRAGMA writable_schema = ON"
    change(tmp_path, writable, "DELETE FROM sqlite_master WHERE name = 'picture_stamp'")
    change(tmp_path, "DELETE FROM picture")
    row = f"'index', 'picture_stamp', 'picture', {page}, '{sql}'"
    change(tmp_path, writable, f"INSERT INTO sqlite_master VALUES ({row})")
    with opened(tmp_path) as history:
        with pytest.raises(HistoryError, match=BROKEN):
            history.moments("lion", 2)
        assert history.moments("What happened?", 2) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("start_ns", "-1e30"),
        ("end_ns", "'noon'"),
        ("end_ns", "1e30"),
        ("end_ns", str(2**62)),
        ("text", "x'ff'"),
        ("text", "CAST(x'ff' AS TEXT)"),
        ("question", "x'00'"),
        ("camera", "x'00'"),
    ],
)
def test_a_column_of_an_entry_holds_another_type(tmp_path: Path, column: str, value: str) -> None:
    fill(tmp_path)
    change(tmp_path, f"UPDATE entry SET {column} = {value}")
    with opened(tmp_path) as history:
        for words in ("", "ball"):
            with pytest.raises(HistoryError, match=BROKEN):
                history.entries(words=words)
        for question in ("ball", "lion", "What happened?"):
            # Most columns aren't needed for this.
            with suppress(HistoryError):
                assert history.moments(question, 4)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("start_ns", "'noon'"),
        ("end_ns", "x'00'"),
        ("stamp_ns", "'noon'"),
        ("stamp_ns", str(-(2**62))),
        ("frame_id", "x'00'"),
        ("jpeg", "'a picture'"),
        ("jpeg", "zeroblob(9)"),
    ],
)
def test_a_column_of_a_picture_holds_another_type(tmp_path: Path, column: str, value: str) -> None:
    fill(tmp_path)
    change(tmp_path, f"UPDATE picture SET {column} = {value}")
    with opened(tmp_path) as history:
        for question in ("ball", "lion", "What happened?"):
            with pytest.raises(HistoryError, match="restart the node"):
                history.moments(question, 4)
        assert len(texts(history, "ball lion cube")) == 4


def test_pictures_without_a_run(tmp_path: Path) -> None:
    fill(tmp_path)
    change(tmp_path, "UPDATE picture SET run = 'first'")
    with opened(tmp_path) as history, pytest.raises(HistoryError, match=BROKEN):
        history.moments("What happened?", 2)


def test_entries_without_ids(tmp_path: Path) -> None:
    fill(tmp_path)
    file = tmp_path / DATABASE_FILE
    file.write_bytes(file.read_bytes().replace(b"PRIMARY KEY, run", b"           , run"))
    with opened(tmp_path) as history:
        for words in ("", "ball"):
            with pytest.raises(HistoryError, match=BROKEN):
                history.entries(words=words)
        assert history.moments("ball", 1) == []


def test_an_index_that_cannot_be_opened(tmp_path: Path) -> None:
    fill(tmp_path)
    file = tmp_path / DATABASE_FILE
    # The database quotes this byte, which is no UTF-8.
    file.write_bytes(file.read_bytes().replace(b"content_rowid", b"\xffontent_rowid"))
    with opened(tmp_path) as history:
        for read in (lambda: history.entries(words="ball"), lambda: history.moments("ball", 1)):
            with pytest.raises(HistoryError, match=BROKEN):
                read()
        history.add(Entry("a red door", 9 * S, 10 * S))
        history.flush()
        assert history.failure
        assert history.lost == 1
