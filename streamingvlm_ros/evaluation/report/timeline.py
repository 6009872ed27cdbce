"""The timeline of a recording: utterances and questions in groups, each with a picture."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import TypeAlias

from ...recordings.annotations import Utterance
from ..metrics import Pair, align
from ..results import TrialResult
from .questions import QuestionEntry, question_entries
from .text_diff import Closeness, DiffSpan, closeness, text_diff


@dataclass(frozen=True, slots=True)
class Cell:
    """A model's narration in a row. `closeness` is None where there is no reference."""

    closeness: Closeness | None
    spans: tuple[DiffSpan, ...]


@dataclass(frozen=True, slots=True)
class NarrationEntry:
    """The reference of [start_s, end_s) and each model's narration.

    `reference` is empty where silence is right, and None where nothing is known.
    """

    start_s: float
    end_s: float
    reference: str | None
    cells: tuple[Cell, ...]

    @property
    def right(self) -> bool:
        """True if every narration is exact."""
        return all(cell.closeness == "exact" for cell in self.cells)

    @property
    def silent(self) -> bool:
        """True if the reference and all narrations are silent."""
        return not self.reference and not any(cell.spans for cell in self.cells)


Entry: TypeAlias = NarrationEntry | QuestionEntry


@dataclass(frozen=True, slots=True)
class Group:
    """Entries from `start_s` on. `picture` is a data URL, empty without one."""

    start_s: float
    picture: str
    entries: tuple[Entry, ...]

    @property
    def right(self) -> bool:
        """True if all entries are right."""
        return all(entry.right for entry in self.entries)


def end_s(results: Sequence[TrialResult]) -> float:
    """Return the time of the last utterance or question in the results."""
    ends_s = [u.end_s for r in results for u in (*r.reference, *r.narrations)]
    questions_s = [answer.question.time_s for r in results for answer in r.answers]
    return max([*ends_s, *questions_s], default=0.0)


def groups(
    results: Sequence[TrialResult], *, step_s: float, pictures: Mapping[float, str]
) -> Iterator[Group]:
    """Yield a recording's groups, one every `step_s`; `results` has one result for each model.

    `pictures` are data URLs by the start of their group.
    """
    entries: list[Entry] = sorted(
        [*question_entries(results), *_narration_entries(results)], key=lambda entry: entry.start_s
    )
    by_number = {
        number: list(group)
        for number, group in groupby(entries, key=lambda entry: int(entry.start_s // step_s))
    }
    for number in sorted({*by_number, *(int(time_s // step_s) for time_s in pictures)}):
        start_s = number * step_s
        merged = tuple(_merge_silence(by_number.get(number, [])))
        if merged or start_s in pictures:
            yield Group(start_s, pictures.get(start_s, ""), merged)


def _narration_entries(results: Sequence[TrialResult]) -> list[NarrationEntry]:
    reference, spoken = results[0].reference, [result.spoken for result in results]
    unlabelled = _outside_reference(reference, spoken)
    with_reference = zip(*(align(reference, each) for each in spoken), strict=True)
    without = zip(*(align(unlabelled, each) for each in spoken), strict=True)
    return [*map(_scored_entry, with_reference), *map(_unscored_entry, without)]


def _scored_entry(pairs: Sequence[Pair]) -> NarrationEntry:
    utterance = pairs[0].reference
    cells = tuple(Cell(closeness(pair), text_diff(pair)) for pair in pairs)
    return NarrationEntry(utterance.start_s, utterance.end_s, utterance.text, cells)


def _unscored_entry(pairs: Sequence[Pair]) -> NarrationEntry:
    utterance, texts = pairs[0].reference, [pair.text for pair in pairs]
    cells = tuple(Cell(None, (DiffSpan("same", text),) if text else ()) for text in texts)
    return NarrationEntry(utterance.start_s, utterance.end_s, None, cells)


def _outside_reference(
    reference: Sequence[Utterance], spoken: Sequence[Sequence[Utterance]]
) -> list[Utterance]:
    """Return the narrations at times without reference; of several at a time, the first model's."""
    outside: list[Utterance] = []
    for narrations in spoken:
        spans = sorted([*reference, *outside], key=lambda span: span.start_s)
        starts = [span.start_s for span in spans]
        ends = list(accumulate((span.end_s for span in spans), max, initial=float("-inf")))
        outside += [u for u in narrations if ends[bisect_right(starts, u.middle_s)] <= u.middle_s]
    return outside


def _merge_silence(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the entries with consecutive silent ones as one."""
    for silent, group in groupby(
        entries, key=lambda entry: isinstance(entry, NarrationEntry) and entry.silent
    ):
        run = list(group)
        first, last = run[0], run[-1]
        if silent and isinstance(first, NarrationEntry) and isinstance(last, NarrationEntry):
            yield NarrationEntry(first.start_s, last.end_s, first.reference, first.cells)
        else:
            yield from run
