from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from streamingvlm_ros.history.database import transaction


def fail_half_way(database: sqlite3.Connection) -> None:
    with transaction(database):
        database.execute("INSERT INTO word VALUES ('half')")
        raise ZeroDivisionError


def test_a_transaction_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "file", isolation_level=None)
    database.execute("CREATE TABLE word (text)")
    with transaction(database):
        database.execute("INSERT INTO word VALUES ('whole')")
    with pytest.raises(ZeroDivisionError):
        fail_half_way(database)
    with transaction(database):
        database.execute("INSERT INTO word VALUES ('next')")
    assert database.execute("SELECT text FROM word").fetchall() == [("whole",), ("next",)]
    database.close()
