"""Random draws for clips of the synthetic world: worlds, seconds and questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamingvlm_ros.demo.acts import Second, Thing, Verb
from streamingvlm_ros.demo.questions import NOW, QuestionAnswer, about_now, about_past
from streamingvlm_ros.demo.story import BLOCK_S
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World

_REMEMBERED_S = 60
"""Seconds of captions from each end of the past; no window keeps more."""

_EACH = 3
"""Draws of each kind of question about now for one clip. With two things in view, most clips then
ask about both, and an answer that is right for one is wrong for the other."""

_STILL = (Verb.STOPS, Verb.RESTS)


def any_world(random: np.random.Generator) -> World:
    """Return a world that may be trained on."""
    return World(int(random.integers(FIRST_UNSEEN_SEED)))


def captions(world: World, until: int) -> tuple[str, ...]:
    """Return the captions before second `until`: the first and the last of them."""
    numbers: Sequence[int] = range(until)
    if until > 2 * _REMEMBERED_S:
        numbers = [*range(_REMEMBERED_S), *range(until - _REMEMBERED_S, until)]
    return tuple(world.caption(number) for number in numbers)


def eventful_second(random: np.random.Generator) -> tuple[World, int]:
    """Return a second that can be described without knowing the one before."""
    while True:
        world = any_world(random)
        for number in random.integers(300, size=4):
            if not any(act.verb in _STILL for act in world.second(int(number)).acts):
                return world, int(number)


def any_question(seconds: Sequence[Second], random: np.random.Generator) -> QuestionAnswer:
    """Return a question about the last second or about those before."""
    past = about_past(seconds, random) if random.random() < 0.5 else None
    return past or about_now(seconds[-1], random)


def questions_about_now(now: Second, random: np.random.Generator) -> list[QuestionAnswer]:
    """Return questions of every kind about now, without repetition."""
    questions = (make(now, random) for make in NOW.values() for _ in range(_EACH))
    return list(dict.fromkeys(questions))


def question_pairs(questions: Sequence[QuestionAnswer]) -> tuple[tuple[str, str], ...]:
    """Return pairs of question and answer, as a ClipSample has them."""
    return tuple((question.question, question.answer) for question in questions)


def second_with_two_shapes(random: np.random.Generator) -> tuple[World, int]:
    """Return a second that leaves things of two shapes on the table.

    With one shape, naming the only colour in view would answer "What colour is the star?".
    """
    while True:
        world, number = any_world(random), int(random.integers(1, 300))
        if len({thing.shape for thing in world.second(number).things}) == 2:
            return world, number


def second_without(shape: str, random: np.random.Generator) -> tuple[World, int]:
    """Return a second in which nothing has this shape."""
    while True:
        world, number = any_world(random), int(random.integers(300))
        if shape not in [act.thing.shape for act in world.second(number).acts]:
            return world, number


def moments_of_one_thing(
    world: World, block: int, *, max_moments: int, random: np.random.Generator
) -> tuple[list[int], Thing]:
    """Return up to `max_moments` seconds whose captions name one thing, and that thing.

    No other thing in these seconds has its shape.
    """
    while True:
        seconds = {n: world.second(n) for n in range(block, block + BLOCK_S)}
        things = sorted({a.thing for s in seconds.values() for a in s.acts}, key=str)
        if not things:
            block += BLOCK_S
            continue
        thing = things[int(random.integers(len(things)))]
        mentions = [n for n, second in seconds.items() if thing.name in second.caption]
        count = min(len(mentions), int(random.integers(1, max_moments + 1)))
        numbers = sorted(int(n) for n in random.choice(mentions, count, replace=False))
        shapes = [a.thing.shape for n in numbers for a in seconds[n].acts if a.thing != thing]
        if thing.shape not in shapes:
            return numbers, thing
