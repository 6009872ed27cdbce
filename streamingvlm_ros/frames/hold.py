"""Pictures that stand still: shown until the next, as by a player. A function of stamps alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..config import FrameConfig
from ..types import NS_PER_S

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shown(Generic[T]):
    """A picture and the time [start_ns, end_ns) for which a player shows it.

    `replaced` is true if another picture follows; otherwise the film ends.
    """

    picture: T
    start_ns: int
    end_ns: int
    replaced: bool = False


class Hold:
    """Repeats a picture in each later slot of the chunker in which it is still shown.

    A slot in which the next picture comes is left to that one. A picture is repeated for
    `hold_last_frame` seconds after its stamp; `left_out_ns` sums up the rest.
    """

    def __init__(self, config: FrameConfig) -> None:
        self._chunk_ns = round(config.chunk_seconds * NS_PER_S)
        self._slots = config.frames_per_chunk
        self._hold_ns = round(config.hold_last_frame * NS_PER_S)
        self.left_out_ns = 0

    def frames(self, shown: Iterable[Shown[T]]) -> Iterator[tuple[int, T]]:
        """Yield (stamp in ns, picture) from time 0 on.

        A picture that is shown from before time 0 stands for it from there.
        """
        for each in shown:
            if each.start_ns >= 0:
                yield each.start_ns, each.picture
            first = max(self._slot(each.start_ns) + 1, 0)
            for slot in range(first, self._slot_after(each)):
                stamp_ns = self._first_stamp(slot)
                if stamp_ns - each.start_ns >= self._hold_ns:
                    self.left_out_ns += each.end_ns - stamp_ns
                    break
                yield stamp_ns, each.picture

    def _slot_after(self, shown: Shown[T]) -> int:
        """Return the first slot that doesn't belong to a picture.

        The last picture of a film has a slot in which it ends only if it stands still: most films
        end some milliseconds after a second.
        """
        slot = self._slot(shown.end_ns)
        if shown.replaced or not self._stands_still(shown):
            return slot
        return slot + (self._first_stamp(slot) < shown.end_ns)

    def _stands_still(self, shown: Shown[T]) -> bool:
        """Return True if a picture is shown for longer than a slot."""
        return (shown.end_ns - shown.start_ns) * self._slots > self._chunk_ns

    def _slot(self, stamp_ns: int) -> int:
        return stamp_ns * self._slots // self._chunk_ns

    def _first_stamp(self, slot: int) -> int:
        return -(-slot * self._chunk_ns // self._slots)
