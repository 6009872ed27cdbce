"""Questions about the synthetic world with their true answers.

They concern the present, the narration of the last seconds, and moments long ago. Pure Python and
numpy, for training and for scoring.
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
class QuestionAnswer:
    """A question and its true answer."""

    question: str
    answer: str


def about_now(now: Second, random: np.random.Generator) -> QuestionAnswer:
    """Return a random question about the table at the end of a second."""
    return NOW[str(random.choice(list(NOW)))](now, random)


def about_past(seconds: Sequence[Second], random: np.random.Generator) -> QuestionAnswer | None:
    """Return a random question about `seconds`, newest last; None if there is nothing to ask."""
    for kind in random.permutation(list(PAST)):
        question = PAST[kind](seconds, random)
        if question:
            return question
    return None


def about_moments(moments: Sequence[Second], thing: Thing, *, kind: str) -> QuestionAnswer | None:
    """Return a question about `thing` in `moments` long ago, oldest first.

    `kind` is one of MOMENTS. The answer about its place is true of the newest moment with the
    thing. The thing beside it is asked only if it is the same in all moments. None if they don't
    determine the answer.
    """
    with_thing = [second for second in moments if _act_of(second, thing)]
    return MOMENTS[kind](with_thing, thing) if with_thing else None


def about_colour(now: Second, shape: str) -> QuestionAnswer:
    """Return the question about the colour of the things of this shape."""
    colours = " and ".join(t.colour for t in now.things if t.shape == shape)
    answer = f"{colours.capitalize()}." if colours else ABSENT
    return QuestionAnswer(f"What colour is the {shape}?", answer)


def place_name(cell: Cell) -> str:
    """Return the name of one of the table's nine places."""
    name = f"{_ROWS[cell[1]]} {_COLUMNS[cell[0]]}".strip()
    return f"At the {name}." if name else "In the middle."


def _what(now: Second, random: np.random.Generator) -> QuestionAnswer:
    return QuestionAnswer("What is on the table?", _list(now.things))


def _count(now: Second, random: np.random.Generator) -> QuestionAnswer:
    return QuestionAnswer("How many things are on the table?", NUMBERS[len(now.things)])


def _colour(now: Second, random: np.random.Generator) -> QuestionAnswer:
    return about_colour(now, _pick([t.shape for t in now.things], SHAPES, random=random))


def _where(now: Second, random: np.random.Generator) -> QuestionAnswer:
    """Return a question about a place. A thing in transit has none, so it isn't asked about."""
    ends = {a.thing.name: a.end for a in now.acts if a.verb not in (*_TRANSIT, Verb.LEAVES)}
    transit = [a.thing.name for a in now.acts if a.verb in _TRANSIT]
    name = _pick(list(ends), [name for name in _NAMES if name not in transit], random=random)
    return QuestionAnswer(
        f"Where is the {name}?", place_name(ends[name]) if name in ends else ABSENT
    )


def _moving(now: Second, random: np.random.Generator) -> QuestionAnswer:
    name = _pick([t.name for t in now.things], _NAMES, random=random)
    verbs = [a.verb for a in now.acts if a.thing.name == name and a.verb is not Verb.LEAVES]
    answer = ("Yes." if verbs[0] in _MOVING else "No.") if verbs else ABSENT
    return QuestionAnswer(f"Is the {name} moving?", answer)


def _left(seconds: Sequence[Second], random: np.random.Generator) -> QuestionAnswer | None:
    return _latest(Verb.LEAVES, "What went away last?", seconds=seconds)


def _entered(seconds: Sequence[Second], random: np.random.Generator) -> QuestionAnswer | None:
    return _latest(Verb.ENTERS, "What entered last?", seconds=seconds)


def _before(seconds: Sequence[Second], random: np.random.Generator) -> QuestionAnswer | None:
    if len(seconds) < 2:
        return None
    return QuestionAnswer("What happened before?", _sentence(seconds[-2].caption))


def _colour_then(moments: Sequence[Second], thing: Thing) -> QuestionAnswer:
    question = f"What colour was the {thing.shape}?"
    return QuestionAnswer(question, f"{thing.colour.capitalize()}.")


def _where_then(moments: Sequence[Second], thing: Thing) -> QuestionAnswer | None:
    act = _act_of(moments[-1], thing)
    if not act or act.verb in _TRANSIT:
        return None
    cell = act.start if act.verb is Verb.LEAVES else act.end
    return QuestionAnswer(f"Where was the {thing.name}?", place_name(cell))


def _company_then(moments: Sequence[Second], thing: Thing) -> QuestionAnswer | None:
    answers = {_list([a.thing for a in second.acts if a.thing != thing]) for second in moments}
    question = f"What was on the table with the {thing.name}?"
    return QuestionAnswer(question, answers.pop()) if len(answers) == 1 else None


NOW: dict[str, Callable[[Second, np.random.Generator], QuestionAnswer]] = {
    "what": _what,
    "count": _count,
    "colour": _colour,
    "where": _where,
    "moving": _moving,
}
PAST: dict[str, Callable[[Sequence[Second], np.random.Generator], QuestionAnswer | None]] = {
    "left": _left,
    "entered": _entered,
    "before": _before,
}
MOMENTS: dict[str, Callable[[Sequence[Second], Thing], QuestionAnswer | None]] = {
    "colour then": _colour_then,
    "where then": _where_then,
    "company then": _company_then,
}
_NAMES = [Thing(colour, shape).name for colour in COLOURS for shape in SHAPES]


def _pick(present: Sequence[str], all: Sequence[str], *, random: np.random.Generator) -> str:
    """Return a random item, in 80 % of the cases one that is present."""
    return str(random.choice(present if present and random.random() < 0.8 else all))


def _latest(verb: Verb, question: str, *, seconds: Sequence[Second]) -> QuestionAnswer | None:
    for second in reversed(seconds):
        things = [act.thing for act in second.acts if act.verb is verb]
        if things:
            return QuestionAnswer(question, _list(things))
    return None


def _act_of(second: Second, thing: Thing) -> Act | None:
    return next((act for act in second.acts if act.thing == thing), None)


def _list(things: Sequence[Thing]) -> str:
    return _sentence(" and ".join(f"a {thing.name}" for thing in things))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else NOTHING
