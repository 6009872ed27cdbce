"""Scores of narrations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.evaluation.metrics import align, alike, match_events, score_narration
from streamingvlm_ros.recordings.annotations import Utterance

WORDS = ("a red ball rolls left", "the door opens", "a dog jumps over the fence", "nobody is there")


def seconds(*texts: str, begin_s: float = 0.0) -> list[Utterance]:
    """One text a second."""
    return [Utterance(begin_s + n, begin_s + n + 1, text) for n, text in enumerate(texts)]


REFERENCE = seconds(WORDS[0], "", WORDS[1], "", "", WORDS[2])


def test_an_oracle_is_right_in_everything() -> None:
    scores = score_narration(REFERENCE, REFERENCE)
    assert (scores.exact, scores.rouge_l, scores.bleu) == (1.0, 1.0, pytest.approx(1.0))
    assert (scores.coverage, scores.silence) == (1.0, 1.0)
    assert (scores.event_precision, scores.event_recall, scores.timing_error_s) == (1.0, 1.0, 0.0)
    assert scores.seconds == 6.0


@pytest.mark.parametrize("said", [[], seconds(*[""] * 6)])
def test_silence_is_worth_nothing_where_something_is_to_be_said(said: list[Utterance]) -> None:
    scores = score_narration(seconds(*WORDS), said)
    assert (scores.exact, scores.rouge_l, scores.bleu, scores.coverage) == (0, 0, 0, 0)
    assert (scores.event_precision, scores.event_recall) == (0, 0)
    assert (scores.silence, scores.timing_error_s) == (None, None)


def test_a_case_computed_by_hand() -> None:
    # Right, too late by a second, missing, and a word too many where silence was meant.
    said = seconds(WORDS[0], "hm", "", WORDS[1], "", "")
    scores = score_narration(REFERENCE, said)
    assert scores.exact == pytest.approx(2 / 6)
    assert scores.coverage == pytest.approx(1 / 3)
    assert scores.silence == pytest.approx(1 / 3)
    assert scores.event_precision == pytest.approx(2 / 3)
    assert scores.event_recall == pytest.approx(2 / 3)
    assert scores.timing_error_s == pytest.approx(0.5)


def test_rouge_l_of_two_texts_is_the_textbooks() -> None:
    # Longest common subsequence "red ball left": 3 of 5 words and 3 of 4.
    precision, recall = 3 / 4, 3 / 5
    expected = 2 * precision * recall / (precision + recall)
    assert alike("a red ball rolls left", "red ball goes left") == pytest.approx(expected)


def test_words_of_other_scripts_count() -> None:
    assert alike("красный шар слева", "красный шар справа") == pytest.approx(2 / 3)


def test_what_the_reference_does_not_know_is_not_scored() -> None:
    known = [Utterance(10, 11, WORDS[0])]
    scores = score_narration(known, seconds(*WORDS * 5))
    assert scores.seconds == 1.0
    assert scores.exact == 0.0
    said = [*seconds("hm", "so"), *known, Utterance(40, 41, "well")]
    assert score_narration(known, said).event_precision == 1.0
    assert score_narration(known, said).exact == 1.0


def test_a_sentence_is_compared_with_all_that_was_said_while_it_lasted() -> None:
    (pair,) = align([Utterance(1, 4, "the door opens and a dog comes in")], seconds(*"abcde"))
    assert pair.said == "b c d"


def test_capitals_and_spaces_do_not_count() -> None:
    (pair,) = align(seconds("The  door opens"), seconds("the door opens"))
    assert pair.exact
    (pair,) = align(seconds("The door opens"), seconds("the door shuts"))
    assert not pair.exact


def test_an_event_is_told_once_within_two_seconds_and_by_the_nearest() -> None:
    events = [Utterance(10, 11, WORDS[1])]
    assert match_events(events, seconds(*[WORDS[1]] * 3, begin_s=9)) == [0.0]
    assert match_events(events, [Utterance(12, 13, WORDS[1])]) == [2.0]
    assert match_events(events, [Utterance(12.1, 13, WORDS[1])]) == []
    assert match_events(events * 2, [Utterance(10, 11, WORDS[1])]) == [0.0]
    assert match_events(events, [Utterance(10, 11, WORDS[0])]) == []


@given(st.lists(st.sampled_from(("", *WORDS)), min_size=1, max_size=30), st.data())
def test_scores_are_between_nothing_and_all(texts: list[str], data: st.DataObject) -> None:
    said = seconds(*data.draw(st.lists(st.sampled_from(("", *WORDS)), max_size=30)))
    # Where a clock was set back, some seconds come twice.
    again = data.draw(st.lists(st.sampled_from(said), max_size=9)) if said else []
    told = sorted([*said, *again], key=lambda utterance: utterance.start_s)
    scores = score_narration(seconds(*texts), told)
    for name in scores.__slots__:
        value = getattr(scores, name)
        assert value is None or value >= 0
        assert value is None or value <= 1 + 1e-9 or name in ("seconds", "timing_error_s")
