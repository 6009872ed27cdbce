"""Questions about the synthetic world, and their true answers.

What a person would ask of a table with things on it: about now, about what was said in the last
seconds, and about moments of long ago. Pure Python and numpy, for training and for scoring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .acts import COLOURS, SHAPES, Act, Cell, Second, Thing, Verb

ABSENT = "Not on the table."
NOTHING = "Nothing."
NUMBERS = ("None.", "One.", "Two.")

_TRANSIT = (Verb.MOVES, Verb.HITS)
_MOVING = (Verb.ENTERS, *_TRANSIT)
_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its one true answer."""

    question: str
    answer: str


def about_now(now: Second, random: np.random.Generator) -> Asked:
    """What stands on the table at the end of a second, and whether it moves."""
    return NOW[str(random.choice(list(NOW)))](now, random)


def about_past(seconds: Sequence[Second], random: np.random.Generator) -> Asked | None:
    """What was narrated in `seconds`, of which the newest is last. None if nothing can be asked."""
    for kind in random.permutation(list(PAST)):
        asked = PAST[kind](seconds, random)
        if asked:
            return asked
    return None


def about_moments(moments: Sequence[Second], thing: Thing, kind: str) -> Asked | None:
    """`thing` in a few seconds of long ago, oldest first. None if that can't be told from them.

    Where it was is true of the newest moment that shows it; with what it was is asked only if that
    is the same in all of them. `kind` is one of MOMENTS.
    """
    shown = [second for second in moments if _act_of(second, thing)]
    return MOMENTS[kind](shown, thing) if shown else None


def about_colour(now: Second, shape: str) -> Asked:
    """What colour the things of this shape are."""
    colours = " and ".join(t.colour for t in now.things if t.shape == shape)
    answer = f"{colours.capitalize()}." if colours else ABSENT
    return Asked(f"What colour is the {shape}?", answer)


def place_name(cell: Cell) -> str:
    """One of the table's nine places, in words."""
    name = f"{_ROWS[cell[1]]} {_COLUMNS[cell[0]]}".strip()
    return f"At the {name}." if name else "In the middle."


def _what(now: Second, random: np.random.Generator) -> Asked:
    return Asked("What is on the table?", _list(now.things))


def _count(now: Second, random: np.random.Generator) -> Asked:
    return Asked("How many things are on the table?", NUMBERS[len(now.things)])


def _colour(now: Second, random: np.random.Generator) -> Asked:
    return about_colour(now, _one([t.shape for t in now.things], SHAPES, random))


def _where(now: Second, random: np.random.Generator) -> Asked:
    """Of a thing in transit there is no telling: it is asked of those that keep their place."""
    ends = {a.thing.name: a.end for a in now.acts if a.verb not in (*_TRANSIT, Verb.LEAVES)}
    transit = [a.thing.name for a in now.acts if a.verb in _TRANSIT]
    name = _one(list(ends), [name for name in _NAMES if name not in transit], random)
    return Asked(f"Where is the {name}?", place_name(ends[name]) if name in ends else ABSENT)


def _moving(now: Second, random: np.random.Generator) -> Asked:
    name = _one([t.name for t in now.things], _NAMES, random)
    verbs = [a.verb for a in now.acts if a.thing.name == name and a.verb is not Verb.LEAVES]
    answer = ("Yes." if verbs[0] in _MOVING else "No.") if verbs else ABSENT
    return Asked(f"Is the {name} moving?", answer)


def _left(seconds: Sequence[Second], random: np.random.Generator) -> Asked | None:
    return _latest(Verb.LEAVES, "What went away last?", seconds)


def _entered(seconds: Sequence[Second], random: np.random.Generator) -> Asked | None:
    return _latest(Verb.ENTERS, "What entered last?", seconds)


def _before(seconds: Sequence[Second], random: np.random.Generator) -> Asked | None:
    if len(seconds) < 2:
        return None
    return Asked("What happened before?", _sentence(seconds[-2].caption))


def _colour_then(shown: Sequence[Second], thing: Thing) -> Asked:
    question = f"What colour was the {thing.shape}?"
    return Asked(question, f"{thing.colour.capitalize()}.")


def _where_then(shown: Sequence[Second], thing: Thing) -> Asked | None:
    act = _act_of(shown[-1], thing)
    if not act or act.verb in _TRANSIT:
        return None
    cell = act.start if act.verb is Verb.LEAVES else act.end
    return Asked(f"Where was the {thing.name}?", place_name(cell))


def _with_then(shown: Sequence[Second], thing: Thing) -> Asked | None:
    found = {_list([a.thing for a in second.acts if a.thing != thing]) for second in shown}
    question = f"What was on the table with the {thing.name}?"
    return Asked(question, found.pop()) if len(found) == 1 else None


NOW: dict[str, Callable[[Second, np.random.Generator], Asked]] = {
    "what": _what,
    "count": _count,
    "colour": _colour,
    "where": _where,
    "moving": _moving,
}
PAST: dict[str, Callable[[Sequence[Second], np.random.Generator], Asked | None]] = {
    "left": _left,
    "entered": _entered,
    "before": _before,
}
MOMENTS: dict[str, Callable[[Sequence[Second], Thing], Asked | None]] = {
    "colour then": _colour_then,
    "where then": _where_then,
    "company then": _with_then,
}
_NAMES = [Thing(colour, shape).name for colour in COLOURS for shape in SHAPES]


def _one(there: Sequence[str], all: Sequence[str], random: np.random.Generator) -> str:
    """Mostly something that is there."""
    return str(random.choice(there if there and random.random() < 0.8 else all))


def _latest(verb: Verb, question: str, seconds: Sequence[Second]) -> Asked | None:
    for second in reversed(seconds):
        things = [act.thing for act in second.acts if act.verb is verb]
        if things:
            return Asked(question, _list(things))
    return None


def _act_of(second: Second, thing: Thing) -> Act | None:
    return next((act for act in second.acts if act.thing == thing), None)


def _list(things: Sequence[Thing]) -> str:
    return _sentence(" and ".join(f"a {thing.name}" for thing in things))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else NOTHING
