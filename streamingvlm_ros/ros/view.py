"""Which frames an answer rests on."""

from __future__ import annotations

from dataclasses import dataclass

from ..types import Chunk, Frame


@dataclass(frozen=True)
class Sight:
    """The oldest and the newest of some frames; without frames, all is 0."""

    from_ns: int = 0
    until_ns: int = 0
    frame_id: str = ""


def sight_of(frames: tuple[Frame, ...]) -> Sight:
    """Of frames in the order of their stamps."""
    if not frames:
        return Sight()
    return Sight(frames[0].stamp_ns, frames[-1].stamp_ns, frames[-1].frame_id)


class View:
    """What a stream has in view. One thread changes it, any other may look."""

    def __init__(self, rounds: int) -> None:
        """`rounds` are how many stay visible."""
        self._rounds = rounds
        self._sights: tuple[Sight, ...] = ()

    @property
    def sight(self) -> Sight:
        """From the oldest frame to the newest."""
        sights = self._sights
        if not sights:
            return Sight()
        return Sight(sights[0].from_ns, sights[-1].until_ns, sights[-1].frame_id)

    def add(self, chunk: Chunk) -> None:
        """A round begins, perhaps the oldest leaves."""
        self._sights = (*self._sights, sight_of(chunk.frames))[-self._rounds :]

    def clear(self) -> None:
        """The stream begins anew."""
        self._sights = ()
