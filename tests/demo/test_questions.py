"""Questions about the synthetic world: their answers are true of what its seconds hold."""

from __future__ import annotations

import numpy as np
import pytest

from streamingvlm_ros.demo.acts import Act, Second, Thing, Verb
from streamingvlm_ros.demo.questions import (
    ABSENT,
    MOMENTS,
    NOW,
    PAST,
    Asked,
    about_moments,
    about_now,
    about_past,
    place_name,
)
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World

STAR, SQUARE = Thing("red", "star"), Thing("blue", "square")
MOVES = Act(STAR, Verb.MOVES, (1, 1), (0, 1), "left")
RESTS = Act(SQUARE, Verb.RESTS, (2, 2), (2, 2))
LEAVES = Act(SQUARE, Verb.LEAVES, (2, 2), (3, 2), "right")
ENTERS = Act(STAR, Verb.ENTERS, (-1, 0), (0, 0), "left")


def answers(make: object, *seconds: Second) -> dict[str, str]:
    """Every question that is asked of these seconds, with its answer."""
    found = {}
    for seed in range(2000):
        asked = make(*seconds, np.random.default_rng(seed))  # type: ignore[operator]
        if asked:
            found[asked.question] = asked.answer
    return found


def test_now_is_the_end_of_the_newest_second() -> None:
    found = answers(about_now, Second((MOVES, RESTS)))
    assert found["What is on the table?"] == "A red star and a blue square."
    assert found["How many things are on the table?"] == "Two."
    assert found["What colour is the star?"] == "Red."
    assert found["Where is the blue square?"] == "At the bottom right."
    assert found["Is the red star moving?"] == "Yes."
    assert found["Is the blue square moving?"] == "No."


def test_what_has_just_left_is_not_there() -> None:
    found = answers(about_now, Second((MOVES, LEAVES)))
    assert found["What is on the table?"] == "A red star."
    assert found["How many things are on the table?"] == "One."
    assert found["Where is the blue square?"] == ABSENT
    assert found["Is the blue square moving?"] == ABSENT
    assert found["What colour is the square?"] == ABSENT
    assert answers(about_now, Second())["What is on the table?"] == "Nothing."


def test_two_of_one_shape_have_two_colours() -> None:
    other = Act(Thing("blue", "star"), Verb.RESTS, (2, 2), (2, 2))
    assert answers(about_now, Second((MOVES, other)))["What colour is the star?"] == "Red and blue."


def test_the_past_is_what_was_said_of_it() -> None:
    past = (Second((ENTERS, RESTS)), Second((LEAVES,)), Second((MOVES,)), Second())
    found = answers(lambda *s: about_past(s[:-1], s[-1]), *past)
    assert found["What went away last?"] == "A blue square."
    assert found["What entered last?"] == "A red star."
    assert found["What happened before?"] == "Red star moves left."
    assert about_past((Second(),), np.random.default_rng(0)) is None


def test_where_is_not_asked_of_one_in_transit() -> None:
    assert "Where is the red star?" not in answers(about_now, Second((MOVES, RESTS)))
    assert about_moments((Second((MOVES,)),), STAR, "where then") is None


def test_moments_are_asked_of_the_newest_that_shows_the_thing() -> None:
    told = (Second((MOVES, RESTS)), Second((ENTERS, RESTS)), Second((RESTS,)))
    found = {kind: about_moments(told, STAR, kind) for kind in MOMENTS}
    assert all(found.values())
    said = {asked.question: asked.answer for asked in found.values() if asked}
    assert said == {
        "What colour was the star?": "Red.",
        "Where was the red star?": "At the top left.",
        "What was on the table with the red star?": "A blue square.",
    }
    assert about_moments((Second((RESTS,)),), STAR, "where then") is None


def test_company_is_not_asked_of_one_that_was_with_one_thing_and_then_with_another() -> None:
    alone, together = Second((ENTERS,)), Second((ENTERS, RESTS))
    assert about_moments((together, together), STAR, "company then")
    assert about_moments((alone, together), STAR, "company then") is None
    assert about_moments((alone, Second((RESTS,)), alone), STAR, "company then") == Asked(
        "What was on the table with the red star?", "Nothing."
    )


def test_one_that_leaves_was_where_it_left_from() -> None:
    asked = about_moments((Second((LEAVES,)),), SQUARE, "where then")
    assert asked
    assert asked.answer == "At the bottom right."


def test_every_place_has_a_name_of_its_own() -> None:
    names = {place_name((column, row)) for column in range(3) for row in range(3)}
    assert len(names) == 9
    assert place_name((1, 1)) == "In the middle."
    assert place_name((0, 2)) == "At the bottom left."


@pytest.mark.parametrize("kind", [*NOW, *PAST])
def test_no_answer_to_a_question_is_nearly_always_right(kind: str) -> None:
    """Whoever always says the same must be wrong more often than not."""
    random, said = np.random.default_rng(0), []
    for seed in range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + 20):
        world = World(seed)
        for second in range(12, 132, 3):
            past = [world.second(n) for n in range(second - 10, second + 1)]
            asked = NOW[kind](past[-1], random) if kind in NOW else PAST[kind](past, random)
            said += [asked.answer] if asked else []
    assert max(said.count(answer) for answer in set(said)) < 0.6 * len(said)
