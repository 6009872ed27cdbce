"""Runs of each camera's time, and the times when a picture is due."""

from __future__ import annotations

from dataclasses import dataclass

from ..types import NS_PER_S
from .types import Entry


@dataclass
class _Run:
    number: int
    newest_ns: int | None = None
    picture_ns: int | None = None


class Timeline:
    """Numbers the runs: stretches of one camera's narration in which time only goes forward.

    Times of different runs are unrelated: a restarted simulation repeats the same stamps.
    """

    def __init__(self, picture_seconds: float) -> None:
        self._picture_ns = round(picture_seconds * NS_PER_S)
        self._runs: dict[str, _Run] = {}

    def run(self, entry: Entry, number: int) -> int:
        """Return the run of entry `number`. An answer belongs to the present run.

        A run's number is that of its first entry, so it is unique.
        """
        run = self._runs.get(entry.camera) or self._begin_run(entry.camera, number)
        if not entry.question:
            if run.newest_ns is not None and entry.start_ns < run.newest_ns:
                run = self._begin_run(entry.camera, number)
            run.newest_ns = entry.start_ns
        return run.number

    def picture_due(self, entry: Entry) -> bool:
        """Return whether the run's last picture is old enough, by the starts of their seconds.

        Starts are exact. A camera's stamps jitter, which would delay every other picture by a
        second.
        """
        last_ns = self._runs[entry.camera].picture_ns
        return last_ns is None or entry.start_ns - last_ns >= self._picture_ns

    def note_picture(self, entry: Entry) -> None:
        """Note that a picture of this second is stored."""
        self._runs[entry.camera].picture_ns = entry.start_ns

    def _begin_run(self, camera: str, number: int) -> _Run:
        self._runs[camera] = run = _Run(number)
        return run
