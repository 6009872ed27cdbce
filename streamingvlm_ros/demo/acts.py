"""Things on the table of the synthetic world, and what they do in one second.

The table has 3 x 3 places. An act moves a thing from one place, or from beyond the edge, to
another.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

Cell = tuple[int, int]
"""(column, row) of a place on the table, each 0..2; -1 and 3 lie beyond the edge."""
Point = tuple[float, float]
"""(x, y) on the table, each 0..1 from the left and from the top."""

COLOURS = ("red", "yellow", "green", "blue", "purple", "black")
SHAPES = ("circle", "square", "triangle", "star")

NEW_COLOUR, NEW_SHAPE = "cyan", "ring"
"""Never in the shipped model's training data: for experiments with things that are new to it."""

RADIUS = 0.13
REACH = {"circle": 1.0, "square": 0.95, "triangle": 0.95, "star": 0.85, NEW_SHAPE: 1.0}
"""Half the width of a shape in radii: the distance at which two shapes touch."""

STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
SIDES = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
_MARGIN, _PITCH, _OUTSIDE = 0.2, 0.3, 0.37


class Verb(Enum):
    """Action of a thing during one second."""

    ENTERS = "enters"
    MOVES = "moves"
    STOPS = "stops"
    RESTS = "rests"
    HITS = "hits"
    LEAVES = "leaves"


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape of one colour. `shift` is its constant offset from the centre of its place."""

    colour: str
    shape: str
    shift: Point = (0.0, 0.0)

    @property
    def name(self) -> str:
        """Name in captions."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Act:
    """What one thing does in one second, from `start` to `end`.

    `where` is a direction or a side of the table; `other` is the thing that is hit.
    """

    thing: Thing
    verb: Verb
    start: Cell
    end: Cell
    where: str = ""
    other: Thing | None = None

    def position(self, t_s: float) -> Point:
        """Return the thing's position after `t_s` seconds of the act, 0..1."""
        progress = self._progress(t_s)
        (x0, y0), (x1, y1) = _centre(self.start), _centre(self.end)
        dx, dy = self.thing.shift
        return x0 + progress * (x1 - x0) + dx, y0 + progress * (y1 - y0) + dy

    @property
    def words(self) -> str:
        """The act in words, as captions describe it."""
        match self.verb:
            case Verb.ENTERS:
                rest = f" from the {self.where}"
            case Verb.LEAVES:
                rest = f" {'on' if self.where in STEPS else 'at'} the {self.where}"
            case Verb.MOVES:
                rest = f" {self.where}"
            case Verb.HITS:
                rest = f" {self.other.name}" if self.other else ""
            case _:
                rest = ""
        return f"{self.thing.name} {self.verb.value}{rest}"

    def _progress(self, t_s: float) -> float:
        """Return the share of the way covered: slowing down to enter, speeding up to leave."""
        match self.verb:
            case Verb.ENTERS:
                return 1.0 - (1.0 - t_s) ** 2
            case Verb.LEAVES:
                return t_s**2
            case Verb.HITS:
                touch = self._touch_progress()
                return 2 * t_s * touch if t_s < 0.5 else touch + (2 * t_s - 1) * (1 - touch)
            case _:
                return t_s

    def _touch_progress(self) -> float:
        """Return the share of the way at which it touches the other thing."""
        assert self.other is not None
        axis = 0 if self.start[0] != self.end[0] else 1
        sign = self.end[axis] - self.start[axis]
        gap = 2 * _PITCH + sign * (self.other.shift[axis] - self.thing.shift[axis])
        return (gap - RADIUS * (REACH[self.thing.shape] + REACH[self.other.shape])) / _PITCH


@dataclass(frozen=True, slots=True)
class Second:
    """What happens in one second, and what is on the table at its end."""

    acts: tuple[Act, ...] = ()

    @property
    def caption(self) -> str:
        """The true description, in the order of COLOURS; '' for an empty table."""
        hits = [act.words for act in self.acts if act.verb is Verb.HITS]
        return ", ".join(hits or [act.words for act in self.acts])

    @property
    def things(self) -> tuple[Thing, ...]:
        """Things on the table at the end of the second, in the order of COLOURS."""
        return tuple(act.thing for act in self.acts if act.verb is not Verb.LEAVES)


def _centre(cell: Cell) -> Point:
    """Return the centre of a place. A place beyond the edge is out of sight."""
    x, y = (_coordinate(index) for index in cell)
    return x, y


def _coordinate(index: int) -> float:
    if index < 0:
        return _MARGIN - _OUTSIDE
    if index > 2:
        return _MARGIN + 2 * _PITCH + _OUTSIDE
    return _MARGIN + index * _PITCH
