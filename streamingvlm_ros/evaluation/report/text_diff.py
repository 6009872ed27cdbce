"""The words in which a narration differs from the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, TypeAlias

from ..metrics import Pair

NEAR_ROUGE_L = 0.5
"""Minimum ROUGE-L at which single words are marked instead of the whole text."""

Closeness: TypeAlias = Literal["exact", "near", "different"]


@dataclass(frozen=True, slots=True)
class DiffSpan:
    """Words that are in both texts, only in the narration, or only in the reference."""

    kind: Literal["same", "added", "missing"]
    text: str


def closeness(pair: Pair) -> Closeness:
    """Return how close a narration is to the reference."""
    if pair.exact:
        return "exact"
    return "near" if pair.rouge_l >= NEAR_ROUGE_L else "different"


def text_diff(pair: Pair) -> tuple[DiffSpan, ...]:
    """Return the narration in spans; none if it is silent. Capitals make no difference."""
    if not pair.text:
        return ()
    match closeness(pair):
        case "exact":
            return (DiffSpan("same", pair.text),)
        case "different":
            return (DiffSpan("added", pair.text),)
        case _:
            return tuple(_spans(pair.reference.text.split(), pair.text.split()))


def _spans(reference: Sequence[str], narration: Sequence[str]) -> Iterator[DiffSpan]:
    lower = [word.lower() for word in reference], [word.lower() for word in narration]
    for tag, a, b, c, d in SequenceMatcher(None, *lower, autojunk=False).get_opcodes():
        if tag == "equal":
            yield DiffSpan("same", " ".join(narration[c:d]))
        else:
            if b > a:
                yield DiffSpan("missing", " ".join(reference[a:b]))
            if d > c:
                yield DiffSpan("added", " ".join(narration[c:d]))
