"""From words to the entries that hold them, the most telling first."""

from __future__ import annotations

import math
import re
import sqlite3
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MAX_RANKED = 50_000
"""So many entries are ranked, those with rare words before those with common ones."""

OVERLAPS = "entry.end_ns > ? AND entry.start_ns < ?"
"""Condition for entries that have a part between two times."""

_MAX_WORDS = 32
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about after again all am an and any anything are aren as at be been before being but by
        can could d did didn do does doesn doing don ever for from had has hasn have haven he her
        his how i if in is isn it its just ll m many me much my not of on or our re s see seen she
        so some something still t tell that the their them then there these they this those to us
        ve was wasn we were weren what when where which while who whom whose why will with would
        you your
        """,
    )
)


def content_words(text: str) -> list[str]:
    """The words of a question, each once: without English function words, unless it has no others.

    A word is letters and digits only, so that none means anything to the database but itself.
    """
    found = _words(text)
    words = list({word.lower(): word for word in found}.values())
    return ([word for word in words if _is_content_word(word)] or words)[:_MAX_WORDS]


def search_terms(text: str) -> list[str]:
    """`words_of`, and those that stand beside each other as pairs: "red box" is more than both."""
    found = _words(text)
    pairs = [
        f"{one} {two}"
        for one, two in pairwise(found)
        if _is_content_word(one) and _is_content_word(two)
    ]
    return [*content_words(text), *dict.fromkeys(pairs[:_MAX_WORDS])]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text))


def _is_content_word(word: str) -> bool:
    return word.lower() not in _FUNCTION_WORDS


def rank_entries(
    database: sqlite3.Connection, words: Sequence[str], times: tuple[int, int] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids and weights of the entries that hold any of the words; of those WITHIN times, if given.

    A word may also be several that stand beside each other.

    Best first. The weight of an entry is the sum of how rare the words are that it holds, so
    entries that hold the same words weigh the same; of those the last one said comes first. If
    more than COUNTED entries hold the words, the oldest ones with the commonest words are left out.
    """
    total = database.execute("SELECT count(*) FROM entry").fetchone()[0]
    counts = {word: _count(database, word) for word in words}
    room, ids, weights = MAX_RANKED, [np.empty(0, np.int64)], [np.empty(0)]
    for word in sorted((word for word in words if counts[word]), key=lambda word: counts[word]):
        ids.append(_ids(database, word, times, room))
        weights.append(np.full(len(ids[-1]), math.log(1 + total / counts[word])))
        room -= len(ids[-1])
    return _best_first(np.concatenate(ids), np.concatenate(weights))


def _ids(
    database: sqlite3.Connection, word: str, times: tuple[int, int] | None, most: int
) -> NDArray[np.int64]:
    """Ids of at most so many entries that hold the word, the newest."""
    # The join takes most of the time, so only where it is needed.
    join = f"CROSS JOIN entry ON entry.id = words.rowid AND {OVERLAPS}" if times else ""
    newest = (
        f"SELECT words.rowid AS id FROM words {join} WHERE words MATCH ? ORDER BY 1 DESC LIMIT ?"
    )
    # One text of them all is read twice as fast as rows.
    found = database.execute(
        f"SELECT group_concat(id) FROM ({newest})", (*(times or ()), _quoted(word), most)
    ).fetchone()[0]
    return np.fromstring(found or "", np.int64, sep=",")


def _best_first(
    ids: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    distinct, which = np.unique(ids, return_inverse=True)
    sums = np.bincount(which, weights, len(distinct)).astype(np.float64)
    order = np.lexsort((-distinct, -sums))
    return distinct[order], sums[order]


def _count(database: sqlite3.Connection, word: str) -> int:
    found = database.execute("SELECT count(*) FROM words WHERE words MATCH ?", [_quoted(word)])
    return int(found.fetchone()[0])


def _quoted(word: str) -> str:
    return f'"{word}"'
