"""Allocation of intervals of an arena's slots, first fit."""

from __future__ import annotations


class SlotAllocator:
    """Hands out intervals of slots from `start` on, up to `end` if there is one."""

    def __init__(self, start: int, end: int | None = None) -> None:
        self._start, self._limit = start, end
        self._taken: list[tuple[int, int]] = []

    @property
    def end(self) -> int:
        """The end of the last taken interval; `start` if none is taken."""
        return self._taken[-1][1] if self._taken else self._start

    def has_room(self, slots: int) -> bool:
        """True if an interval of so many slots is free."""
        return self._limit is None or self._first_fit(slots) + slots <= self._limit

    def take(self, slots: int) -> int:
        """Take an interval, for which there must be room; return its start."""
        start = self._first_fit(slots)
        self._taken = sorted([*self._taken, (start, start + slots)])
        return start

    def give_back(self, start: int) -> None:
        """Make the interval that begins at `start` free again."""
        self._taken = [interval for interval in self._taken if interval[0] != start]

    def _first_fit(self, slots: int) -> int:
        start = self._start
        for taken_start, taken_end in self._taken:
            if taken_start - start >= slots:
                break
            start = taken_end
        return start
