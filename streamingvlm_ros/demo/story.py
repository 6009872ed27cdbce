"""Random story of the synthetic world: what each thing does in each second.

At most two things, of different colours, are on the table at once. They come near each other only
if one hits the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .acts import (
    COLOURS,
    NEW_COLOUR,
    NEW_SHAPE,
    SHAPES,
    SIDES,
    STEPS,
    Act,
    Cell,
    Second,
    Thing,
    Verb,
)

_ORDER = (*COLOURS, NEW_COLOUR)
"""Order of things in a caption."""
_ALL_SHAPES = (*SHAPES, NEW_SHAPE)

BLOCK_S = 30
"""Length of a block. The table is empty at its end, so blocks can be generated in any order."""


@dataclass(frozen=True, slots=True)
class _Actor:
    """A thing on the table while a block is generated; it leaves after `life` more acts."""

    thing: Thing
    cell: Cell
    life: int
    last: Verb


def generate_block(random: np.random.Generator, new: bool = False) -> tuple[Second, ...]:
    """Return BLOCK_S seconds that begin and end with an empty table.

    With `new` every thing has the new colour or the new shape.
    """
    actors: list[_Actor] = []
    seconds: list[Second] = []
    for left in range(BLOCK_S, 0, -1):
        acts = _collision(actors, left, random=random) or _acts(
            actors, left, random=random, new=new
        )
        acts.sort(key=lambda act: _ORDER.index(act.thing.colour))
        seconds.append(Second(tuple(acts)))
        lives = {actor.thing: actor.life for actor in actors}
        actors = [
            _Actor(a.thing, a.end, lives.get(a.thing, int(random.integers(2, 5))) - 1, a.verb)
            for a in acts
            if a.verb is not Verb.LEAVES
        ]
    return tuple(seconds)


def _acts(actors: list[_Actor], left: int, *, random: np.random.Generator, new: bool) -> list[Act]:
    """Return an act for every actor and perhaps one that enters; no two come close."""
    taken = {actor.cell for actor in actors}
    acts = []
    for index in random.permutation(len(actors)):
        acts.append(_act(actors[index], taken, left=left, random=random))
        taken.add(acts[-1].end)
    if len(actors) < 2 and left > 3 and random.random() < (0.5 if actors else 0.75):
        acts.append(_entrance(actors, taken, random=random, new=new))
    return acts


def _act(actor: _Actor, taken: set[Cell], *, left: int, random: np.random.Generator) -> Act:
    sides = [s for s, step in SIDES.items() if not _on_table(_next(actor.cell, step))]
    if sides and (actor.life <= 0 or left <= 2):
        side = str(random.choice(sides))
        end = _next(actor.cell, SIDES[side])
        return Act(actor.thing, Verb.LEAVES, actor.cell, end, side)
    free = [d for d, step in STEPS.items() if _is_free(_next(actor.cell, step), taken)]
    if free and (actor.life <= 0 or left <= 2 or random.random() < 0.65):
        way = str(random.choice(free))
        return Act(actor.thing, Verb.MOVES, actor.cell, _next(actor.cell, STEPS[way]), way)
    return _still(actor)


def _still(actor: _Actor) -> Act:
    moved = actor.last in (Verb.ENTERS, Verb.MOVES, Verb.HITS)
    return Act(actor.thing, Verb.STOPS if moved else Verb.RESTS, actor.cell, actor.cell)


def _entrance(
    actors: list[_Actor], taken: set[Cell], *, random: np.random.Generator, new: bool
) -> Act:
    doors = []
    for side, (dx, dy) in SIDES.items():
        for lane in range(3):
            cell = (1 + dx, lane) if dx else (lane, 1 + dy)
            if cell not in taken:
                doors.append((side, cell))
    side, cell = doors[random.integers(len(doors))]
    used = {actor.thing.colour for actor in actors}
    free = [c for c in (_ORDER if new else COLOURS) if c not in used]
    colour = str(random.choice(free))
    shift = random.uniform(-0.015, 0.015, 2)
    shapes = SHAPES if not new else _ALL_SHAPES if colour == NEW_COLOUR else (NEW_SHAPE,)
    thing = Thing(colour, str(random.choice(shapes)), (float(shift[0]), float(shift[1])))
    return Act(thing, Verb.ENTERS, _next(cell, SIDES[side]), cell, side)


def _collision(actors: list[_Actor], left: int, *, random: np.random.Generator) -> list[Act]:
    """Let one of two things hit the other, if a free place lies between them."""
    if len(actors) < 2 or left <= 3 or random.random() < 0.1:
        return []
    mover, other = (actors[i] for i in random.permutation(2))
    across = [step for step in STEPS.values() if _next(_next(mover.cell, step), step) == other.cell]
    if not across:
        return []
    end = _next(mover.cell, across[0])
    hit = Act(mover.thing, Verb.HITS, mover.cell, end, other=other.thing)
    # The caption doesn't mention the thing that is hit, so later acts must not depend on it.
    return [hit, Act(other.thing, Verb.RESTS, other.cell, other.cell)]


def _next(cell: Cell, step: Cell) -> Cell:
    return cell[0] + step[0], cell[1] + step[1]


def _on_table(cell: Cell) -> bool:
    return 0 <= cell[0] <= 2 and 0 <= cell[1] <= 2


def _is_free(cell: Cell, taken: set[Cell]) -> bool:
    return _on_table(cell) and cell not in taken
