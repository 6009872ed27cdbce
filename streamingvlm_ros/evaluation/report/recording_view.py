"""A recording on the page: its timeline, its pictures, and how to replay it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...config import FrameConfig, Settings
from ...setting import settings_of
from ..results import TrialResult
from .replay import Replay
from .thumbnails import thumbnails
from .timeline import Group, end_s, groups

MAX_PICTURES = 240
"""Limit for all timelines together, about 1.2 MB; every recording has at least one."""

_DAY_S = 86400
_PICTURE_STEPS_S = (
    *(5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600),
    *(_DAY_S, 7 * _DAY_S, 30 * _DAY_S, 365 * _DAY_S),
)
"""A camera's clock may be set to another year in the middle of a recording."""


@dataclass(frozen=True, kw_only=True)
class RecordingView:
    """One recording with the results of each model. Times are seconds since it began."""

    name: str
    number: int
    results: Sequence[TrialResult]
    step_s: float
    pictures: Mapping[float, str]
    """Data URLs by time."""
    replay: Replay

    @property
    def models(self) -> list[str]:
        """Labels of the models, in the order of the columns."""
        return [result.request.model for result in self.results]

    @property
    def duration_s(self) -> float:
        """Time until the last utterance or question."""
        return end_s(self.results)

    @property
    def losses(self) -> dict[str, str]:
        """What is to be known of parts of the recording, such as damage."""
        return {part: why for result in self.results for part, why in result.losses.items()}

    @property
    def groups(self) -> Iterator[Group]:
        """The timeline."""
        pictures = {
            start_s: self.pictures[time_s]
            for start_s, time_s in _picture_times(self.results[0], self.step_s).items()
            if time_s in self.pictures
        }
        return groups(self.results, step_s=self.step_s, pictures=pictures)

    def anchor(self, time_s: float) -> str:
        """Return the page's id of the group that holds this time."""
        return f"r{self.number}-{int(time_s // self.step_s)}"


def picture_step_s(results: Iterable[TrialResult]) -> float:
    """Return the interval between pictures; `results` has one result for each recording."""
    one_each = list(results)
    fitting = (
        step_s
        for step_s in _PICTURE_STEPS_S
        if sum(len(_picture_times(result, step_s)) for result in one_each) <= MAX_PICTURES
    )
    return next(fitting, _PICTURE_STEPS_S[-1])


def view_recording(
    name: str,
    number: int,
    *,
    results: Sequence[TrialResult],
    step_s: float,
    times_s: Iterable[float],
) -> RecordingView:
    """Return a recording's view; `results` has one result for each model.

    Pictures are taken for the timeline and for `times_s`.
    """
    request = results[0].request
    path, settings = Path(request.recording), request.settings
    names = settings_of(FrameConfig)
    frames = Settings().updated({n: v for n, v in settings.items() if n in names}).frames
    times_s = [*_picture_times(results[0], step_s).values(), *times_s]
    return RecordingView(
        name=name,
        number=number,
        results=results,
        step_s=step_s,
        pictures=thumbnails(path, request.camera, config=frames, times_s=times_s),
        replay=Replay.of(path, request.camera, chunk_s=frames.chunk_seconds),
    )


def _picture_times(result: TrialResult, step_s: float) -> dict[float, float]:
    """Return for each group with frames its start, and the middle of its middle round.

    The subject of a group is rarely visible at its start. Silent rounds have frames, too.
    """
    rounds: dict[float, list[float]] = {}
    for narration in result.narrations:
        start_s = narration.start_s // step_s * step_s
        rounds.setdefault(start_s, []).append(narration.middle_s)
    return {start_s: middles[len(middles) // 2] for start_s, middles in rounds.items()}
