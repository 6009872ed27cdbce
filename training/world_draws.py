"""What clips of the synthetic world are made of, drawn at random: worlds, seconds and questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamingvlm_ros.demo.acts import Second, Thing, Verb
from streamingvlm_ros.demo.questions import NOW, QuestionAnswer, about_now, about_past
from streamingvlm_ros.demo.story import BLOCK_S
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World

_REMEMBERED_S = 60
"""Seconds of captions, from either end of the past, that are more than any window keeps."""

_EACH = 3
"""How often a question of each kind about now is made up for one clip: of two things mostly both
are asked of, and what is said of the one is wrong of the other."""

_STILL = (Verb.STOPS, Verb.RESTS)


def any_world(random: np.random.Generator) -> World:
    """One that may be learnt from."""
    return World(int(random.integers(FIRST_UNSEEN_SEED)))


def captions(world: World, until: int) -> tuple[str, ...]:
    """What was said before second `until`: the first and the last of it."""
    numbers: Sequence[int] = range(until)
    if until > 2 * _REMEMBERED_S:
        numbers = [*range(_REMEMBERED_S), *range(until - _REMEMBERED_S, until)]
    return tuple(world.caption(number) for number in numbers)


def eventful(random: np.random.Generator) -> tuple[World, int]:
    """A second that can be described without knowing the one before."""
    while True:
        world = any_world(random)
        for number in random.integers(300, size=4):
            if not any(act.verb in _STILL for act in world.second(int(number)).acts):
                return world, int(number)


def one_asked(told: Sequence[Second], random: np.random.Generator) -> QuestionAnswer:
    """A question about now or about what was told before."""
    past = about_past(told, random) if random.random() < 0.5 else None
    return past or about_now(told[-1], random)


def of_now(now: Second, random: np.random.Generator) -> list[QuestionAnswer]:
    """Questions of every kind about now, each once."""
    made = (make(now, random) for make in NOW.values() for _ in range(_EACH))
    return list(dict.fromkeys(made))


def pairs(asked: Sequence[QuestionAnswer]) -> tuple[tuple[str, str], ...]:
    """Questions and answers as a clip has them."""
    return tuple((one.question, one.answer) for one in asked)


def of_two_shapes(random: np.random.Generator) -> tuple[World, int]:
    """Some second that leaves things of two shapes on the table.

    Only there is "What colour is the star?" more than to name whatever colour is seen.
    """
    while True:
        world, number = any_world(random), int(random.integers(1, 300))
        if len({thing.shape for thing in world.second(number).things}) == 2:
            return world, number


def without(shape: str, random: np.random.Generator) -> tuple[World, int]:
    """Some second in which nothing has this shape."""
    while True:
        world, number = any_world(random), int(random.integers(300))
        if shape not in [act.thing.shape for act in world.second(number).acts]:
            return world, number


def appearance(
    world: World, block: int, most: int, random: np.random.Generator
) -> tuple[list[int], Thing]:
    """Some seconds, at most `most`, that speak of one thing, and that thing.

    Its shape is on no other there.
    """
    while True:
        seconds = {n: world.second(n) for n in range(block, block + BLOCK_S)}
        things = sorted({a.thing for s in seconds.values() for a in s.acts}, key=str)
        if not things:
            block += BLOCK_S
            continue
        thing = things[int(random.integers(len(things)))]
        spoken = [n for n, second in seconds.items() if thing.name in second.caption]
        count = min(len(spoken), int(random.integers(1, most + 1)))
        numbers = sorted(int(n) for n in random.choice(spoken, count, replace=False))
        shapes = [a.thing.shape for n in numbers for a in seconds[n].acts if a.thing != thing]
        if thing.shape not in shapes:
            return numbers, thing
