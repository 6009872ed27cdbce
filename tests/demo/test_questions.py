"""Questions about the synthetic world, and the truth of their answers."""

from __future__ import annotations

import numpy as np
import pytest

from streamingvlm_ros.demo.acts import Act, Second, Thing, Verb
from streamingvlm_ros.demo.questions import (
    ABSENT,
    MOMENTS,
    NOW,
    PAST,
    QuestionAnswer,
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
    """Every question about these seconds, with its answer."""
    answer_of = {}
    for seed in range(2000):
        item = make(*seconds, np.random.default_rng(seed))  # type: ignore[operator]
        if item:
            answer_of[item.question] = item.answer
    return answer_of


def test_questions_about_now_concern_the_end_of_the_second() -> None:
    answer_of = answers(about_now, Second((MOVES, RESTS)))
    assert answer_of["What is on the table?"] == "A red star and a blue square."
    assert answer_of["How many things are on the table?"] == "Two."
    assert answer_of["What colour is the star?"] == "Red."
    assert answer_of["Where is the blue square?"] == "At the bottom right."
    assert answer_of["Is the red star moving?"] == "Yes."
    assert answer_of["Is the blue square moving?"] == "No."


def test_a_thing_that_has_just_left_is_absent() -> None:
    answer_of = answers(about_now, Second((MOVES, LEAVES)))
    assert answer_of["What is on the table?"] == "A red star."
    assert answer_of["How many things are on the table?"] == "One."
    assert answer_of["Where is the blue square?"] == ABSENT
    assert answer_of["Is the blue square moving?"] == ABSENT
    assert answer_of["What colour is the square?"] == ABSENT
    assert answers(about_now, Second())["What is on the table?"] == "Nothing."


def test_two_things_of_one_shape_have_two_colours() -> None:
    other = Act(Thing("blue", "star"), Verb.RESTS, (2, 2), (2, 2))
    assert answers(about_now, Second((MOVES, other)))["What colour is the star?"] == "Red and blue."


def test_questions_about_the_past_concern_its_captions() -> None:
    past = (Second((ENTERS, RESTS)), Second((LEAVES,)), Second((MOVES,)), Second())
    answer_of = answers(lambda *s: about_past(s[:-1], s[-1]), *past)
    assert answer_of["What went away last?"] == "A blue square."
    assert answer_of["What entered last?"] == "A red star."
    assert answer_of["What happened before?"] == "Red star moves left."
    assert about_past((Second(),), np.random.default_rng(0)) is None


def test_the_place_of_a_moving_thing_is_not_asked() -> None:
    assert "Where is the red star?" not in answers(about_now, Second((MOVES, RESTS)))
    assert about_moments((Second((MOVES,)),), STAR, kind="where then") is None


def test_questions_about_moments_concern_the_newest_one_with_the_thing() -> None:
    moments = (Second((MOVES, RESTS)), Second((ENTERS, RESTS)), Second((RESTS,)))
    items = [about_moments(moments, STAR, kind=kind) for kind in MOMENTS]
    assert all(items)
    assert {item.question: item.answer for item in items if item} == {
        "What colour was the star?": "Red.",
        "Where was the red star?": "At the top left.",
        "What was on the table with the red star?": "A blue square.",
    }
    assert about_moments((Second((RESTS,)),), STAR, kind="where then") is None


def test_the_thing_beside_it_is_asked_only_if_it_is_the_same_in_all_moments() -> None:
    alone, together = Second((ENTERS,)), Second((ENTERS, RESTS))
    assert about_moments((together, together), STAR, kind="company then")
    assert about_moments((alone, together), STAR, kind="company then") is None
    assert about_moments(
        (alone, Second((RESTS,)), alone), STAR, kind="company then"
    ) == QuestionAnswer("What was on the table with the red star?", "Nothing.")


def test_a_thing_that_leaves_was_at_the_place_it_left() -> None:
    item = about_moments((Second((LEAVES,)),), SQUARE, kind="where then")
    assert item
    assert item.answer == "At the bottom right."


def test_every_place_has_its_own_name() -> None:
    names = {place_name((column, row)) for column in range(3) for row in range(3)}
    assert len(names) == 9
    assert place_name((1, 1)) == "In the middle."
    assert place_name((0, 2)) == "At the bottom left."


@pytest.mark.parametrize("kind", [*NOW, *PAST])
def test_no_constant_answer_scores_above_60_percent(kind: str) -> None:
    """A model that always gives the same answer must score below 60 %."""
    random, true_answers = np.random.default_rng(0), []
    for seed in range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + 20):
        world = World(seed)
        for second in range(12, 132, 3):
            past = [world.second(n) for n in range(second - 10, second + 1)]
            item = NOW[kind](past[-1], random) if kind in NOW else PAST[kind](past, random)
            true_answers += [item.answer] if item else []
    highest_count = max(true_answers.count(answer) for answer in set(true_answers))
    assert highest_count < 0.6 * len(true_answers)
