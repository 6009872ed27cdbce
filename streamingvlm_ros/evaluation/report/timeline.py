"""What is shown of a recording: its seconds in groups, each group beside a picture."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from ...recordings.annotations import Utterance
from ..metrics import Pair, align
from ..result import Result, spoken, utterances
from .asked import Asked, asked
from .difference import Piece, difference, kind_of


@dataclass(frozen=True, slots=True)
class Cell:
    """What a model said in a row. `kind` is exact, near or other; empty if nobody knows."""

    kind: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What should have been said in [start_s, end_s), and what each model said.

    `reference` is empty for a silence that is meant, and None where nothing is known.
    """

    start_s: float
    end_s: float
    reference: str | None
    cells: tuple[Cell, ...]

    @property
    def right(self) -> bool:
        """Whether every model said what it should."""
        return all(cell.kind == "exact" for cell in self.cells)

    @property
    def silent(self) -> bool:
        """Whether nothing was said, and nothing should have been."""
        return not self.reference and not any(cell.pieces for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows and questions from `start_s` on. `picture` is a data address, empty without one."""

    start_s: float
    picture: str
    entries: tuple[Row | Asked, ...]

    @property
    def right(self) -> bool:
        """Whether nobody was wrong in it."""
        return all(entry.right for entry in self.entries)


def length_s(results: Sequence[Result]) -> float:
    """Where the last utterance of them all ends, in seconds."""
    ends = [its["end_s"] for r in results for name in ("reference", "said") for its in r[name]]
    asked_s = [its["asked"]["time_s"] for r in results for its in r["answers"]]
    return max([*ends, *asked_s], default=0.0)


def groups(
    results: Sequence[Result], step_s: float, pictures: Mapping[float, str]
) -> Iterator[Group]:
    """A recording's results, one of each model, cut every `step_s` seconds.

    `pictures` are data addresses, by where their group begins.
    """
    entries: list[Row | Asked] = sorted(
        [*asked(results), *_rows(results)], key=lambda entry: entry.start_s
    )
    cut = {
        number: list(its)
        for number, its in groupby(entries, key=lambda entry: int(entry.start_s // step_s))
    }
    for number in sorted({*cut, *(int(time_s // step_s) for time_s in pictures)}):
        start_s = number * step_s
        shown = tuple(_joined(cut.get(number, [])))
        if shown or start_s in pictures:
            yield Group(start_s, pictures.get(start_s, ""), shown)


def _rows(results: Sequence[Result]) -> list[Row]:
    reference, said = utterances(results[0], "reference"), [spoken(result) for result in results]
    beside = _beside(reference, said)
    known = zip(*(align(reference, its) for its in said), strict=True)
    unknown = zip(*(align(beside, its) for its in said), strict=True)
    return [*(_row(pairs, True) for pairs in known), *(_row(pairs, False) for pairs in unknown)]


def _row(pairs: Sequence[Pair], known: bool) -> Row:
    its = pairs[0].reference
    if known:
        cells = tuple(Cell(kind_of(pair), difference(pair)) for pair in pairs)
        return Row(its.start_s, its.end_s, its.text, cells)
    texts = [pair.said for pair in pairs]
    cells = tuple(Cell("", (Piece("same", text),) if text else ()) for text in texts)
    return Row(its.start_s, its.end_s, None, cells)


def _beside(reference: Sequence[Utterance], said: Sequence[Sequence[Utterance]]) -> list[Utterance]:
    """What was said when the reference knows nothing: of several at one time, the first model's."""
    found: list[Utterance] = []
    for its in said:
        spans = sorted([*reference, *found], key=lambda span: span.start_s)
        starts = [span.start_s for span in spans]
        ends = list(accumulate((span.end_s for span in spans), max, initial=float("-inf")))
        found += [u for u in its if ends[bisect_right(starts, u.middle_s)] <= u.middle_s]
    return found


def _joined(entries: Sequence[Row | Asked]) -> Iterator[Row | Asked]:
    """The same with rows of silence that follow on each other as one."""
    for silent, its in groupby(entries, key=lambda entry: isinstance(entry, Row) and entry.silent):
        run = list(its)
        first, last = run[0], run[-1]
        if silent and isinstance(first, Row) and isinstance(last, Row):
            yield Row(first.start_s, last.end_s, first.reference, first.cells)
        else:
            yield from run
