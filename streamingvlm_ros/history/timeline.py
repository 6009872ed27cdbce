"""Which stretch of a camera's time something belongs to, and when a picture is due."""

from __future__ import annotations

from dataclasses import dataclass

from ..types import NS_PER_S
from .types import Entry


@dataclass
class _Run:
    number: int
    newest_ns: int | None = None
    pictured_ns: int | None = None


class Timeline:
    """Numbers the runs: stretches of one camera's narration in which time only goes forward.

    Times of different runs have nothing to do with each other: a simulation that begins again
    has the same ones.
    """

    def __init__(self, picture_seconds: float) -> None:
        self._picture_ns = round(picture_seconds * NS_PER_S)
        self._runs: dict[str, _Run] = {}

    def run(self, entry: Entry, number: int) -> int:
        """The run of the entry with that number. An answer belongs to the one that goes on.

        A run is called by the number of its first entry, so no two have the same.
        """
        run = self._runs.get(entry.camera) or self._begin(entry.camera, number)
        if not entry.question:
            if run.newest_ns is not None and entry.start_ns < run.newest_ns:
                run = self._begin(entry.camera, number)
            run.newest_ns = entry.start_ns
        return run.number

    def picture_due(self, entry: Entry) -> bool:
        """Whether the last picture of the run is long enough ago, by the starts of seconds.

        By starts, because those are exact: the stamps of a camera jitter, and every other picture
        would come a second late.
        """
        last_ns = self._runs[entry.camera].pictured_ns
        return last_ns is None or entry.start_ns - last_ns >= self._picture_ns

    def pictured(self, entry: Entry) -> None:
        """A picture of this second is kept."""
        self._runs[entry.camera].pictured_ns = entry.start_ns

    def _begin(self, camera: str, number: int) -> _Run:
        self._runs[camera] = run = _Run(number)
        return run
