"""A recording as the page shows it: its timeline, its pictures, and how it is replayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...config import FrameConfig
from ..result import Result, utterances
from .replaying import Replay, replay
from .thumbnails import thumbnails
from .timeline import Group, groups, length_s

PICTURES = 240
"""Pictures on all timelines together, at most, but for one of each recording: about 1.2 MB."""

_DAY_S = 86400
_STEPS_S = (
    *(5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600),
    *(_DAY_S, 7 * _DAY_S, 30 * _DAY_S, 365 * _DAY_S),
)
"""A camera's clock may be set to another year in the middle of a recording."""


@dataclass(frozen=True)
class Shown:
    """One recording, and what each model made of it. Times are seconds since it began."""

    name: str
    number: int
    results: Sequence[Result]
    step_s: float
    pictures: Mapping[float, str]
    """Data addresses by time: those of the timeline, and what else was wished for."""
    replay: Replay

    @property
    def models(self) -> list[str]:
        """Labels of the models, in the order of every row's cells."""
        return [result["request"]["model"] for result in self.results]

    @property
    def length_s(self) -> float:
        """How long it is, as far as anything was said or asked."""
        return length_s(self.results)

    @property
    def losses(self) -> dict[str, str]:
        """What of it could not be read, and why."""
        return {what: why for result in self.results for what, why in result["losses"].items()}

    @property
    def groups(self) -> Iterator[Group]:
        """The timeline."""
        grid = _grid(self.results[0], self.step_s)
        on_it = {start: self.pictures[its] for start, its in grid.items() if its in self.pictures}
        return groups(self.results, self.step_s, on_it)

    def anchor(self, time_s: float) -> str:
        """Name of the group on the page that this time is in."""
        return f"r{self.number}-{int(time_s // self.step_s)}"


def step_for(results: Iterable[Result]) -> float:
    """Seconds from one picture to the next; `results` are one of each recording."""
    each = list(results)
    fitting = (its for its in _STEPS_S if sum(len(_grid(r, its)) for r in each) <= PICTURES)
    return next(fitting, _STEPS_S[-1])


def shown(
    name: str, number: int, results: Sequence[Result], step_s: float, times_s: Iterable[float]
) -> Shown:
    """A recording by its results, one of each model; `times_s` are further pictures' times."""
    request = results[0]["request"]
    settings, path, camera = request["settings"], Path(request["recording"]), request["camera"]
    frames = FrameConfig(settings["fps"], settings["chunk_seconds"])
    grid = _grid(results[0], step_s)
    pictures = thumbnails(path, camera, frames, [*grid.values(), *times_s])
    its = replay(path, camera, frames.chunk_seconds)
    return Shown(name, number, results, step_s, pictures, its)


def _grid(result: Result, step_s: float) -> dict[float, float]:
    """Where each group begins that has frames, and the middle of the round in its middle.

    What a group is about is rarely seen at its beginning. A model was told of frames in each round,
    also if it was silent.
    """
    rounds: dict[float, list[float]] = {}
    for said in utterances(result, "said"):
        rounds.setdefault(said.start_s // step_s * step_s, []).append(said.middle_s)
    return {start_s: middles[len(middles) // 2] for start_s, middles in rounds.items()}
