"""The stored pictures that may answer a question."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice

from ..types import NS_PER_S
from .database import checked_row
from .search import rank_entries, search_terms
from .types import StoredPicture

MIN_GAP_NS = 10 * NS_PER_S
"""Pictures further apart than this show different occasions."""

MIN_RELATIVE_WEIGHT = 0.75
"""Narrations below this share of the best one's weight are about something else."""

_MAX_NARRATIONS = 500


@dataclass(frozen=True, slots=True)
class _Match:
    """A narration with words of the question, and the stamp of its own picture or None."""

    number: int
    weight: float
    run: int
    middle_ns: int
    text: str
    stamp_ns: int | None

    @property
    def has_picture(self) -> bool:
        return self.stamp_ns is not None


def best_pictures(
    database: sqlite3.Connection, question: str, *, count: int
) -> list[StoredPicture]:
    """Return at most `count` different pictures for a question, oldest first.

    Narrations with the most telling words and word pairs of the question come first; those far
    below the best are left out. Among narrations with the same words, those with a picture of
    their own second come first, and of these the newest that are MIN_GAP_NS apart before those in
    between. A narration without its own picture gets the nearest one of its run. If no narration
    has a word of the question, the pictures are spread evenly over the history.
    """
    matches = _matches(database, question)
    chosen = _chosen(database, matches, count=count) if matches else {}
    return sorted(chosen.values() or _spread(database, count), key=lambda picture: picture.number)


def _matches(database: sqlite3.Connection, question: str) -> list[_Match]:
    query = (
        "SELECT entry.run, (entry.start_ns + entry.end_ns) / 2, text, stamp_ns "
        "FROM entry LEFT JOIN picture USING (id) WHERE id = ? AND question = ''"
    )
    numbers, weights = rank_entries(database, search_terms(question))
    matches = (
        _Match(number, weight, *checked_row(row, int, int | float, str, int | None))
        for number, weight in zip(numbers.tolist(), weights.tolist(), strict=True)
        if (row := database.execute(query, [number]).fetchone())
    )
    best = list(islice(matches, _MAX_NARRATIONS))
    relevant = [match for match in best if match.weight >= MIN_RELATIVE_WEIGHT * best[0].weight]
    return sorted(relevant, key=lambda match: (-match.weight, not match.has_picture))


def _chosen(
    database: sqlite3.Connection, matches: list[_Match], *, count: int
) -> dict[int, StoredPicture]:
    chosen: dict[int, StoredPicture] = {}
    for picture, must_be_apart in _candidates(database, matches):
        if len(chosen) >= count:
            break
        if not must_be_apart or all(_are_apart(picture, other) for other in chosen.values()):
            chosen.setdefault(picture.number, picture)
    return chosen


def _candidates(
    database: sqlite3.Connection, matches: list[_Match]
) -> Iterator[tuple[StoredPicture, bool]]:
    """Yield pictures, best first, and whether each must be apart from the chosen ones.

    Of equally good pictures, all come first with that condition and then again without it.
    """
    for _, equals in groupby(matches, key=lambda match: (match.weight, match.has_picture)):
        pictures = [picture for match in equals if (picture := _nearest(database, match))]
        for must_be_apart in (True, False):
            yield from ((picture, must_be_apart) for picture in pictures)


def _are_apart(one: StoredPicture, other: StoredPicture) -> bool:
    return one.run != other.run or abs(one.stamp_ns - other.stamp_ns) >= MIN_GAP_NS


def _nearest(database: sqlite3.Connection, match: _Match) -> StoredPicture | None:
    """Return the picture of a narration: its own, or the nearest of its run, or None."""
    if match.stamp_ns is not None:
        return StoredPicture(match.number, match.run, match.stamp_ns, match.text)
    neighbours = []
    for side in ("stamp_ns >= ? ORDER BY stamp_ns", "stamp_ns < ? ORDER BY stamp_ns DESC"):
        query = f"SELECT id, stamp_ns FROM picture WHERE run = ? AND {side} LIMIT 1"
        rows = database.execute(query, [match.run, match.middle_ns])
        neighbours += [checked_row(row, int, int) for row in rows]
    if not neighbours:
        return None
    number, stamp_ns = min(neighbours, key=lambda row: abs(row[1] - match.middle_ns))
    return StoredPicture(number, match.run, stamp_ns, match.text)


def _spread(database: sqlite3.Connection, count: int) -> list[StoredPicture]:
    """Return pictures at even steps from the oldest to the newest; the newest if `count` is 1."""
    oldest, newest = database.execute("SELECT min(id), max(id) FROM picture").fetchone()
    if oldest is None:
        return []
    query = "SELECT id, run, stamp_ns FROM picture WHERE id >= ? ORDER BY id LIMIT 1"
    steps = [newest - (newest - oldest) * i // max(count - 1, 1) for i in range(count)]
    rows = [database.execute(query, [number]).fetchone() for number in steps]
    return list({StoredPicture(*checked_row(row, int, int, int)) for row in rows})
