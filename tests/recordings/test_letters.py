"""The option that an answer names: by the letter that begins it, or by its text."""

# ruff: noqa: RUF001 (dashes and full-width punctuation are the point)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.recordings.questions import TimedQuestion

OPTIONS = ("on the table", "in the box", "a dog", "nowhere", "everywhere")
SEPARATORS = [*".,:;)]!—–。：、", " -", " –", "\n", " \n", "\t"]


def asked(answer: str) -> TimedQuestion:
    return TimedQuestion(0.0, "Where is it?", answer, OPTIONS)


@pytest.mark.parametrize(
    "answer",
    [
        *("B", "b", "(B)", "[B]", "{B}", "**B**", "*B*", "_B_", "“B”", '"B"', "`B`", "B.", "B?"),
        *("B. in the box", "B.in the box", "B) in the box", "(B) in the box", "B, in the box"),
        *("B; the box", "B: the box", "B : the box", "B! The box", "B (in the box)", "B [the box]"),
        *("B - in the box", "B- in the box", "B – the box", "B—the box", "B -- the box"),
        *("B\nBecause it is in the box.", "B\r\nA dog", "B  \n\nA dog", "B\tin the box", "\n\nB"),
        *("B：在盒子里", "B，在盒子里", "（B）在盒子里", "B。", "B、箱の中", "「B」です"),
        "Ｂ．箱の中",
        *("**B** in the box", '"B" is right', "- B\n- because", "B, not A", "B: A dog is in it"),
        *("in the box", "In the  box.", "IN THE BOX"),
    ],
)
def test_an_answer_that_begins_with_the_letter_names_the_option(answer: str) -> None:
    assert asked("B").is_answered_by(answer)
    assert not asked("A").is_answered_by(answer)
    assert not asked("C").is_answered_by(answer)


@pytest.mark.parametrize(
    "answer",
    [
        *("", " ", "\n", "?", "Both", "Be careful", "A dog runs", "A or B", "A and B", "I think B"),
        *("A-frame", "B-side", "a-b", "E.g. the box", "e.g. a dog", "B's box", "A “dog”", "E-mail"),
        *("Answer: B", "The box", "42", "B2", "Bé", "A *dog*", "B is right"),
    ],
)
def test_a_word_that_begins_with_a_letter_names_no_option(answer: str) -> None:
    assert not any(asked(letter).is_answered_by(answer) for letter in "ABCDE")


@given(st.sampled_from("ABCDE"), st.sampled_from(SEPARATORS), st.text(max_size=20))
def test_any_reason_may_follow_the_letter(letter: str, separator: str, reason: str) -> None:
    assert asked(letter).is_answered_by(f"{letter}{separator} {reason}")
