"""Scores of narrations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.evaluation.metrics import align, match_events, rouge_l, score_narration
from streamingvlm_ros.recordings.annotations import Utterance

WORDS = ("a red ball rolls left", "the door opens", "a dog jumps over the fence", "nobody is there")


def seconds(*texts: str, begin_s: float = 0.0) -> list[Utterance]:
    """One text a second."""
    return [Utterance(begin_s + n, begin_s + n + 1, text) for n, text in enumerate(texts)]


REFERENCE = seconds(WORDS[0], "", WORDS[1], "", "", WORDS[2])


def test_a_perfect_narration_has_all_scores() -> None:
    scores = score_narration(REFERENCE, REFERENCE)
    assert (scores.exact, scores.rouge_l, scores.bleu) == (1.0, 1.0, pytest.approx(1.0))
    assert (scores.coverage, scores.silence) == (1.0, 1.0)
    assert (scores.event_precision, scores.event_recall, scores.timing_error_s) == (1.0, 1.0, 0.0)
    assert scores.seconds == 6.0


@pytest.mark.parametrize("narrations", [[], seconds(*[""] * 6)])
def test_silence_scores_zero_against_a_spoken_reference(narrations: list[Utterance]) -> None:
    scores = score_narration(seconds(*WORDS), narrations)
    assert (scores.exact, scores.rouge_l, scores.bleu, scores.coverage) == (0, 0, 0, 0)
    assert (scores.event_precision, scores.event_recall) == (0, 0)
    assert (scores.silence, scores.timing_error_s) == (None, None)


def test_scores_match_a_case_computed_by_hand() -> None:
    # Right, too late by a second, missing, and a word too many where silence was meant.
    narrations = seconds(WORDS[0], "hm", "", WORDS[1], "", "")
    scores = score_narration(REFERENCE, narrations)
    assert scores.exact == pytest.approx(2 / 6)
    assert scores.coverage == pytest.approx(1 / 3)
    assert scores.silence == pytest.approx(1 / 3)
    assert scores.event_precision == pytest.approx(2 / 3)
    assert scores.event_recall == pytest.approx(2 / 3)
    assert scores.timing_error_s == pytest.approx(0.5)


def test_rouge_l_matches_its_definition() -> None:
    # Longest common subsequence "red ball left": 3 of 5 words and 3 of 4.
    precision, recall = 3 / 4, 3 / 5
    expected = 2 * precision * recall / (precision + recall)
    assert rouge_l("a red ball rolls left", "red ball goes left") == pytest.approx(expected)


def test_words_of_other_scripts_count() -> None:
    assert rouge_l("красный шар слева", "красный шар справа") == pytest.approx(2 / 3)


def test_time_outside_the_reference_is_not_scored() -> None:
    known = [Utterance(10, 11, WORDS[0])]
    scores = score_narration(known, seconds(*WORDS * 5))
    assert scores.seconds == 1.0
    assert scores.exact == 0.0
    narrations = [*seconds("hm", "so"), *known, Utterance(40, 41, "well")]
    assert score_narration(known, narrations).event_precision == 1.0
    assert score_narration(known, narrations).exact == 1.0


def test_an_utterance_is_compared_with_all_narrations_during_it() -> None:
    (pair,) = align([Utterance(1, 4, "the door opens and a dog comes in")], seconds(*"abcde"))
    assert pair.text == "b c d"


def test_capitals_and_spaces_do_not_count() -> None:
    (pair,) = align(seconds("The  door opens"), seconds("the door opens"))
    assert pair.exact
    (pair,) = align(seconds("The door opens"), seconds("the door shuts"))
    assert not pair.exact


def test_an_event_matches_the_nearest_narration_within_two_seconds() -> None:
    events = [Utterance(10, 11, WORDS[1])]
    assert match_events(events, seconds(*[WORDS[1]] * 3, begin_s=9)) == [0.0]
    assert match_events(events, [Utterance(12, 13, WORDS[1])]) == [2.0]
    assert match_events(events, [Utterance(12.1, 13, WORDS[1])]) == []
    assert match_events(events * 2, [Utterance(10, 11, WORDS[1])]) == [0.0]
    assert match_events(events, [Utterance(10, 11, WORDS[0])]) == []


@given(st.lists(st.sampled_from(("", *WORDS)), min_size=1, max_size=30), st.data())
def test_scores_are_between_0_and_1(texts: list[str], data: st.DataObject) -> None:
    once = seconds(*data.draw(st.lists(st.sampled_from(("", *WORDS)), max_size=30)))
    # Where a clock was set back, some seconds come twice.
    again = data.draw(st.lists(st.sampled_from(once), max_size=9)) if once else []
    narrations = sorted([*once, *again], key=lambda utterance: utterance.start_s)
    scores = score_narration(seconds(*texts), narrations)
    for name in scores.__slots__:
        value = getattr(scores, name)
        assert value is None or value >= 0
        assert value is None or value <= 1 + 1e-9 or name in ("seconds", "timing_error_s")
