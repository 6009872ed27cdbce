"""What is read from a file that may hold anything."""

from __future__ import annotations

import sqlite3
from types import UnionType
from typing import Any

from ..types import NS_PER_S

UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What the database raises. It quotes a broken file's bytes in messages that should be UTF-8."""

_TOO_LARGE = 2**31 * NS_PER_S
"""No time is so large: a stamp's seconds have 32 bits. No id is, either."""


def whole(row: tuple[Any, ...] | None, *kinds: type | UnionType) -> Any:
    """The row, if it is there and its values are of these kinds; else DatabaseError.

    An index may name a row that is gone, a column of numbers may hold text, and a number may be
    one that no stamp can hold.
    """
    if row is None or not all(map(isinstance, row, kinds)) or not all(map(_fits, row)):
        raise sqlite3.DatabaseError("a row is missing or broken")
    return row


def _fits(value: object) -> bool:
    return not (isinstance(value, int) and abs(value) >= _TOO_LARGE)
