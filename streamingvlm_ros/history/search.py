"""Entries that hold given words, the most telling first."""

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
"""Number of entries that are ranked; those with rare words come before those with common ones."""

OVERLAPS = "entry.end_ns > ? AND entry.start_ns < ?"
"""SQL condition for entries that overlap the time between two stamps."""

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
    """Return the distinct words of a text, without English function words if it has others.

    A word consists of letters and digits only, so that the database takes none for an operator.
    """
    words = list({word.lower(): word for word in _words(text)}.values())
    return ([word for word in words if _is_content_word(word)] or words)[:_MAX_WORDS]


def search_terms(text: str) -> list[str]:
    """Return `content_words` and their neighbouring pairs: "red box" outweighs "red" and "box"."""
    pairs = [
        f"{first} {second}"
        for first, second in pairwise(_words(text))
        if _is_content_word(first) and _is_content_word(second)
    ]
    return [*content_words(text), *dict.fromkeys(pairs[:_MAX_WORDS])]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text))


def _is_content_word(word: str) -> bool:
    return word.lower() not in _FUNCTION_WORDS


def rank_entries(
    database: sqlite3.Connection,
    terms: Sequence[str],
    *,
    between_ns: tuple[int, int] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return ids and weights of the entries that hold any of the terms, best first.

    A term is a word, or several neighbouring words. With `between_ns`, only entries that overlap
    that time count. An entry's weight is the sum of its terms' rarity, log(1 + entries / entries
    with the term). Entries with the same terms weigh the same; of these the newest comes first.
    Beyond MAX_RANKED entries, the oldest ones with the commonest terms are left out.
    """
    total = database.execute("SELECT count(*) FROM entry").fetchone()[0]
    counts = {term: _count(database, term) for term in terms}
    limit, ids, weights = MAX_RANKED, [np.empty(0, np.int64)], [np.empty(0)]
    for term in sorted((term for term in terms if counts[term]), key=lambda term: counts[term]):
        ids.append(_ids(database, term, between_ns=between_ns, limit=limit))
        weights.append(np.full(len(ids[-1]), math.log(1 + total / counts[term])))
        limit -= len(ids[-1])
    return _best_first(np.concatenate(ids), np.concatenate(weights))


def _ids(
    database: sqlite3.Connection, term: str, *, between_ns: tuple[int, int] | None, limit: int
) -> NDArray[np.int64]:
    """Return the ids of the newest entries that hold the term, at most `limit`."""
    # The join takes most of the time: only where it is needed.
    join = f"CROSS JOIN entry ON entry.id = words.rowid AND {OVERLAPS}" if between_ns else ""
    newest = (
        f"SELECT words.rowid AS id FROM words {join} WHERE words MATCH ? ORDER BY 1 DESC LIMIT ?"
    )
    # One text of all ids is read twice as fast as rows.
    joined = database.execute(
        f"SELECT group_concat(id) FROM ({newest})", (*(between_ns or ()), _quoted(term), limit)
    ).fetchone()[0]
    return np.fromstring(joined or "", np.int64, sep=",")


def _best_first(
    ids: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    distinct, inverse = np.unique(ids, return_inverse=True)
    sums = np.bincount(inverse, weights, len(distinct)).astype(np.float64)
    order = np.lexsort((-distinct, -sums))
    return distinct[order], sums[order]


def _count(database: sqlite3.Connection, term: str) -> int:
    query = "SELECT count(*) FROM words WHERE words MATCH ?"
    return int(database.execute(query, [_quoted(term)]).fetchone()[0])


def _quoted(term: str) -> str:
    return f'"{term}"'
