"""In which words two texts differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from ..metrics import Pair

NEAR = 0.5
"""ROUGE-L from which on the words that differ are marked, and not all of a text."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some words: `same` in both texts, `more` only in what was said, or `less`, left out there."""

    kind: str
    text: str


def kind_of(pair: Pair) -> str:
    """`exact`, `near` or `other`."""
    if pair.exact:
        return "exact"
    return "near" if pair.rouge_l >= NEAR else "other"


def difference(pair: Pair) -> tuple[Piece, ...]:
    """What was said, in pieces; nothing if that was nothing. Capitals make no difference."""
    kind = kind_of(pair)
    if not pair.said:
        return ()
    if kind == "exact":
        return (Piece("same", pair.said),)
    if kind == "other":
        return (Piece("more", pair.said),)
    return tuple(_pieces(pair.reference.text.split(), pair.said.split()))


def _pieces(reference: Sequence[str], said: Sequence[str]) -> Iterator[Piece]:
    plain = [word.lower() for word in reference], [word.lower() for word in said]
    for tag, a, b, c, d in SequenceMatcher(None, *plain, autojunk=False).get_opcodes():
        if tag == "equal":
            yield Piece("same", " ".join(said[c:d]))
        else:
            if b > a:
                yield Piece("less", " ".join(reference[a:b]))
            if d > c:
                yield Piece("more", " ".join(said[c:d]))
