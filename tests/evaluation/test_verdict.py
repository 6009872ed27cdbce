"""Verdicts in the replies of language models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.evaluation.verdict import Verdict, parse_verdict

LINES = st.text(st.characters(exclude_characters="{}", codec="utf-8"), max_size=40)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        *[("1", "1"), ("2", "2"), ("TIE", "TIE"), ("tie.", "TIE"), (" **2** ", "2"), ("(1)", "1")],
        *[("Answer: 1", "1"), ("Final verdict: **TIE**", "TIE"), ("answer = 2", "2")],
        *[("**Answer: 2.**", "2"), ("The better narration is: narration 1", "1")],
        *[("Narration 2", "2"), ("narration 1.", "1"), ("Neither", "TIE"), ("Neither.", "TIE")],
        ("I looked at 1 and 2.\n1", "1"),
        ("1 is short.\n2 is long.\n\nVerdict: 2\n\nI hope that helps.", "2"),
        ("1\n\nNarration 1 has the box, narration 2 has not.", "1"),
        ("First I thought:\n1\nBut then:\n2", "2"),
        ("<think>1 or 2?</think>\nTIE", "TIE"),
        ("Narration 2 is better.", "2"),
        ("I prefer narration 1: it names the box at 12 s and 0:01.", "1"),
        ("It is a tie.", "TIE"),
        ('{"verdict": 1}', "1"),
        ('{"Winner": "2", "reason": "1 makes things up"}', "2"),
        ('```json\n{\n "reason": "both 1 and 2 see it",\n "verdict": "tie"\n}\n```', "TIE"),
        ('I compared 1 and 2.\n{"answer": "Narration 1"}', "1"),
    ],
)
def test_a_clear_reply_has_a_verdict(reply: str, verdict: str) -> None:
    assert parse_verdict(reply) is Verdict(verdict)


@pytest.mark.parametrize(
    "reply",
    [
        *("", "It depends.", "None", "3", "12", "1.5", "A", "Both are good."),
        *("Narration 1 is better than narration 2.", "2 is worse than 1", "1 beats 2"),
        *("Narration 2 is better than narration 1.", "Between 1 and 2, I can't decide."),
        *("1 or 2", "1, 2", "Narration 1: 2\nNarration 2: 1", "1 is not better.", "2 isn't right"),
        *("Narration 1 sees the box.\nNarration 2 sees it, too.", "It is no tie: 1 beats 2."),
        *('{"narration_1": 2, "narration_2": 1}', '{"verdict": "1", "winner": "2"}', "{}"),
        '{"verdict": "1 is better than 2"}',
    ],
)
def test_an_unclear_reply_is_no_vote(reply: str) -> None:
    assert parse_verdict(reply) is None


@given(LINES, st.sampled_from(list(Verdict)))
def test_the_last_line_decides_whatever_comes_before_it(reasons: str, verdict: Verdict) -> None:
    assert parse_verdict(f"{reasons}\n{verdict.value}") is verdict


@given(LINES, LINES, st.permutations(["1", "2"]))
def test_a_sentence_with_both_names_is_no_vote_for_the_last(
    before: str, after: str, names: list[str]
) -> None:
    first, last = names
    reply = f"{before}x {first} is better than {last} x{after}"
    assert parse_verdict(" ".join(reply.split())) is None
