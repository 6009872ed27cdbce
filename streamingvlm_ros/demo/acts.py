"""Things on the table of the synthetic world, and what one can do in a second.

The table has 3 x 3 places. An act takes a thing from one of them, or from beyond the edge, to
another.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

Cell = tuple[int, int]
"""(column, row) of a place on the table, each 0..2; -1 and 3 are beyond the edge."""
Point = tuple[float, float]
"""(x, y) on the table, each 0..1 from the left and from the top."""

COLOURS = ("red", "yellow", "green", "blue", "purple", "black")
SHAPES = ("circle", "square", "triangle", "star")

NEW_COLOUR, NEW_SHAPE = "cyan", "ring"
"""What no model that we ship was trained on: for learning what a robot meets for the first time."""

RADIUS = 0.13
REACH = {"circle": 1.0, "square": 0.95, "triangle": 0.95, "star": 0.85, NEW_SHAPE: 1.0}
"""How far a shape reaches sideways, in radii: where two of them touch."""

STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
SIDES = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
_MARGIN, _PITCH, _OUTSIDE = 0.2, 0.3, 0.37


class Verb(Enum):
    """What a thing does for a second."""

    ENTERS = "enters"
    MOVES = "moves"
    STOPS = "stops"
    RESTS = "rests"
    HITS = "hits"
    LEAVES = "leaves"


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape of one colour. `shift` is where it likes to be, off the middle of its place."""

    colour: str
    shape: str
    shift: Point = (0.0, 0.0)

    @property
    def name(self) -> str:
        """How captions call it."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Act:
    """One thing's second: from one place to another.

    `where` is a direction or a side of the table; `other` is what is hit.
    """

    thing: Thing
    verb: Verb
    start: Cell
    end: Cell
    where: str = ""
    other: Thing | None = None

    def place(self, t_s: float) -> Point:
        """Where the thing is after `t_s` seconds of the act, 0..1."""
        part = self._part(t_s)
        (x0, y0), (x1, y1) = _centre(self.start), _centre(self.end)
        dx, dy = self.thing.shift
        return x0 + part * (x1 - x0) + dx, y0 + part * (y1 - y0) + dy

    @property
    def words(self) -> str:
        """The act in words."""
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

    def _part(self, t_s: float) -> float:
        """How much of the way is done: slowing down to enter, speeding up to leave."""
        match self.verb:
            case Verb.ENTERS:
                return 1.0 - (1.0 - t_s) ** 2
            case Verb.LEAVES:
                return t_s**2
            case Verb.HITS:
                touch = self._touch()
                return 2 * t_s * touch if t_s < 0.5 else touch + (2 * t_s - 1) * (1 - touch)
            case _:
                return t_s

    def _touch(self) -> float:
        """The part of the way at which the other thing is touched: past the end of the act."""
        assert self.other is not None
        axis = 0 if self.start[0] != self.end[0] else 1
        sign = self.end[axis] - self.start[axis]
        gap = 2 * _PITCH + sign * (self.other.shift[axis] - self.thing.shift[axis])
        return (gap - RADIUS * (REACH[self.thing.shape] + REACH[self.other.shape])) / _PITCH


@dataclass(frozen=True, slots=True)
class Second:
    """What happens in one second, and what stands on the table when it is over."""

    acts: tuple[Act, ...] = ()

    @property
    def caption(self) -> str:
        """The one true description. Things in the order of COLOURS; '' for an empty table."""
        hits = [act.words for act in self.acts if act.verb is Verb.HITS]
        return ", ".join(hits or [act.words for act in self.acts])

    @property
    def things(self) -> tuple[Thing, ...]:
        """What is on the table at the end of the second, in the order of COLOURS."""
        return tuple(act.thing for act in self.acts if act.verb is not Verb.LEAVES)


def _centre(cell: Cell) -> Point:
    """The middle of a place; one beyond the edge is far enough out to be out of sight."""
    x, y = (_axis(index) for index in cell)
    return x, y


def _axis(index: int) -> float:
    if index < 0:
        return _MARGIN - _OUTSIDE
    if index > 2:
        return _MARGIN + 2 * _PITCH + _OUTSIDE
    return _MARGIN + index * _PITCH
