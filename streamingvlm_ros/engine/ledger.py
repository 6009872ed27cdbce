"""Record of the cache: segments of tokens, in order, each with its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

Grid = tuple[int, int, int]
"""(temporal steps, rows, columns) of a round's vision tokens, after spatial merging."""


class Kind(Enum):
    """Kind of a segment, in the order of the dialogue."""

    SYSTEM = "system turn"
    PREVIOUS_HEAD = "header of the previous text"
    PREVIOUS_TEXT = "body of the previous text: the sink and what was carried over"
    PREVIOUS_END = "end of the previous text"
    USER_HEAD = "start of a user turn"
    TIME = "time of the round"
    QUESTION = "question asked in this round"
    VISION = "vision tokens between their two markers"
    INSTRUCTION = "instruction of the first round"
    USER_END = "end of a user turn"
    ASSISTANT_HEAD = "start of an assistant turn"
    ANSWER = "remembered answer, before the narration"
    NARRATION = "narration"
    ASSISTANT_END = "end of an assistant turn"


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens that are kept, moved or dropped together.

    `round` is the round that appended them, -1 for those before the first.
    `grid` and `grid_seconds` (time between two temporal steps) are set for VISION alone.
    """

    kind: Kind
    ids: tuple[int, ...]
    round: int = -1
    grid: Grid | None = None
    grid_seconds: float = 1.0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Ledger:
    """An immutable record of the cache: segment after segment, slot after slot.

    Immutable, so that a question can keep the version that it was asked about.
    """

    segments: tuple[Segment, ...] = ()

    def __len__(self) -> int:
        """Tokens in the cache."""
        return sum(map(len, self.segments))

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def append(self, segments: Iterable[Segment]) -> Ledger:
        """Return a ledger with more segments at the end, without empty ones."""
        return Ledger(self.segments + tuple(s for s in segments if s.ids))

    def with_last(self, segment: Segment) -> Ledger:
        """Return a ledger with its last segment replaced."""
        return Ledger((*self.segments[:-1], segment))

    @property
    def ids(self) -> list[int]:
        """Return every token id in the cache, in order."""
        return [token for segment in self.segments for token in segment.ids]

    def ids_from(self, start: int) -> list[int]:
        """Return the token ids from index `start` on."""
        ids: list[int] = []
        wanted = len(self) - start
        for segment in reversed(self.segments):
            missing = wanted - len(ids)
            if missing <= 0:
                break
            ids = [*segment.ids[-missing:], *ids]
        return ids

    @property
    def distinct_ids(self) -> set[int]:
        """The set of token ids in the cache."""
        # A vision block has thousands of ids, which are equal between its markers.
        short = (s.ids if s.grid is None else (*s.ids[:2], s.ids[-1]) for s in self.segments)
        return set().union(*short)
