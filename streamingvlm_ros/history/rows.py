"""What is read from a file that may hold anything."""

from __future__ import annotations

import sqlite3
from types import UnionType
from typing import Any

UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What the database raises. It quotes a broken file's bytes in messages that should be UTF-8."""


def whole(row: tuple[Any, ...] | None, *kinds: type | UnionType) -> Any:
    """The row, if it is there and its values are of these kinds; else DatabaseError.

    An index may name a row that is gone, and a column of numbers may hold text.
    """
    if row is None or not all(map(isinstance, row, kinds)):
        raise sqlite3.DatabaseError("a row is missing or broken")
    return row
