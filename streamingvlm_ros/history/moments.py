"""From a question to the kept pictures that may answer it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice

from ..types import NS_PER_S
from .database import checked_row
from .search import rank_entries, search_terms

MIN_GAP_NS = 10 * NS_PER_S
"""Pictures that are further apart show different occasions."""

MIN_RELATIVE_WEIGHT = 0.75
"""What weighs less than this share of the best narration speaks of something else."""

_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A kept picture. `text` is the narration because of which it was chosen."""

    number: int
    run: int
    stamp_ns: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Match:
    """A narration that holds words of the question, and the stamp of its own picture if any."""

    number: int
    weight: float
    run: int
    middle_ns: int
    text: str
    stamp_ns: int | None

    @property
    def own(self) -> bool:
        return self.stamp_ns is not None


def best_pictures(database: sqlite3.Connection, question: str, count: int) -> list[StoredPicture]:
    """At most `count` different pictures for a question, in the order in which they were taken.

    Narrations that hold the most telling words of the question, and pairs of words, come first;
    those that hold much less than the best are left out. Of those that hold the same words, first
    those in whose own second a picture was kept, and of those the newest that are APART_NS from
    each other before those in between. A narration without a picture of its own second has the
    nearest one of its run. If no word of the question was ever said, the pictures are spread
    evenly over everything that is kept.
    """
    matches = _matches(database, question)
    chosen = _chosen(database, matches, count) if matches else {}
    return sorted(chosen.values() or _spread(database, count), key=lambda picture: picture.number)


def _matches(database: sqlite3.Connection, question: str) -> list[_Match]:
    query = (
        "SELECT entry.run, (entry.start_ns + entry.end_ns) / 2, text, stamp_ns "
        "FROM entry LEFT JOIN picture USING (id) WHERE id = ? AND question = ''"
    )
    numbers, weights = rank_entries(database, search_terms(question))
    found = (
        _Match(number, weight, *checked_row(row, int, int | float, str, int | None))
        for number, weight in zip(numbers.tolist(), weights.tolist(), strict=True)
        if (row := database.execute(query, [number]).fetchone())
    )
    said = list(islice(found, _LOOKED_AT))
    fitting = [match for match in said if match.weight >= MIN_RELATIVE_WEIGHT * said[0].weight]
    return sorted(fitting, key=lambda match: (-match.weight, not match.own))


def _chosen(
    database: sqlite3.Connection, matches: list[_Match], count: int
) -> dict[int, StoredPicture]:
    chosen: dict[int, StoredPicture] = {}
    for picture, apart in _in_turn(database, matches):
        if len(chosen) >= count:
            break
        if not apart or all(_far(picture, other) for other in chosen.values()):
            chosen.setdefault(picture.number, picture)
    return chosen


def _in_turn(
    database: sqlite3.Connection, matches: list[_Match]
) -> Iterator[tuple[StoredPicture, bool]]:
    """Pictures, best first. Equally good ones come twice: first for those that are far apart."""
    for _, group in groupby(matches, key=lambda match: (match.weight, match.own)):
        shots = [picture for match in group if (picture := _nearest(database, match))]
        for apart in (True, False):
            yield from ((picture, apart) for picture in shots)


def _far(one: StoredPicture, other: StoredPicture) -> bool:
    return one.run != other.run or abs(one.stamp_ns - other.stamp_ns) >= MIN_GAP_NS


def _nearest(database: sqlite3.Connection, match: _Match) -> StoredPicture | None:
    """The picture of a narration: its own, or the nearest of its run. None if there is none."""
    if match.stamp_ns is not None:
        return StoredPicture(match.number, match.run, match.stamp_ns, match.text)
    found = []
    for side in ("stamp_ns >= ? ORDER BY stamp_ns", "stamp_ns < ? ORDER BY stamp_ns DESC"):
        query = f"SELECT id, stamp_ns FROM picture WHERE run = ? AND {side} LIMIT 1"
        rows = database.execute(query, [match.run, match.middle_ns])
        found += [checked_row(row, int, int) for row in rows]
    if not found:
        return None
    number, stamp_ns = min(found, key=lambda row: abs(row[1] - match.middle_ns))
    return StoredPicture(number, match.run, stamp_ns, match.text)


def _spread(database: sqlite3.Connection, count: int) -> list[StoredPicture]:
    """Pictures at even steps from the oldest to the newest; the newest if only one is wanted."""
    oldest, newest = database.execute("SELECT min(id), max(id) FROM picture").fetchone()
    if oldest is None:
        return []
    query = "SELECT id, run, stamp_ns FROM picture WHERE id >= ? ORDER BY id LIMIT 1"
    steps = [newest - (newest - oldest) * i // max(count - 1, 1) for i in range(count)]
    rows = [database.execute(query, [number]).fetchone() for number in steps]
    return list({StoredPicture(*checked_row(row, int, int, int)) for row in rows})
