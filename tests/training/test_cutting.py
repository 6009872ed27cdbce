"""Recordings cut into clips that overlap."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.recordings.timed import TimedQuestion, Utterance
from training.cutting import CutConfig, Told, cut
from training.record import ClipRecord, Exchange, Word

SETTINGS = Settings()
CUT = CutConfig(clip_s=4.0, overlap_s=2.0)


def told(*utterances: Utterance, questions: tuple[TimedQuestion, ...] = ()) -> Told:
    return Told(Path("/world"), "/image", 100.0, utterances, questions, unsaid_is_silent=False)


def each_second(*seconds: int) -> list[Utterance]:
    return [Utterance(n, n + 1, f"second {n}" if n % 3 else "") for n in seconds]


def clips(its: Told) -> list[ClipRecord]:
    return list(cut(its, CUT, SETTINGS))


def times(its: Told) -> list[tuple[float, float]]:
    return [(clip.start_s, clip.end_s) for clip in clips(its)]


def test_clips_overlap_and_the_last_is_as_long_as_what_is_left() -> None:
    assert times(told(*each_second(*range(9)))) == [(0, 4), (2, 6), (4, 8), (6, 9)]
    assert times(told(*each_second(*range(3)))) == [(0, 3)]
    assert times(told(*each_second(0))) == []


def test_the_papers_clips_are_24_s_and_share_12() -> None:
    its = told(*each_second(*range(60)))
    spans = [(clip.start_s, clip.end_s) for clip in cut(its, CutConfig(), SETTINGS)]
    assert spans == [(0, 24), (12, 36), (24, 48), (36, 60)]


def test_time_of_which_nothing_is_known_is_in_no_clip() -> None:
    assert times(told(*each_second(0, 1, 2, 10, 11, 12))) == [(0, 3), (10, 13)]


def test_what_subtitles_leave_out_is_silent() -> None:
    its = Told(Path("/v"), None, 6.0, [Utterance(1.0, 2.0, "once")], (), unsaid_is_silent=True)
    first, second = clips(its)
    assert (first.start_s, second.end_s) == (0, 6)
    assert [word.text for word in first.words] == ["once"]
    assert second.words == ()


def test_a_clip_knows_what_was_said_before_and_only_the_first_is_instructed() -> None:
    first, second, _ = clips(told(*each_second(*range(8))))
    assert (first.previous, first.instruction) == ("", SETTINGS.prompt.instruction)
    assert (second.previous, second.instruction) == ("second 1", "")
    assert [word.text for word in second.words] == ["second", "2", "second", "4", "second", "5"]


def test_of_a_long_past_as_much_is_kept_as_a_window_can_hold() -> None:
    settings = Settings().updated({"text_sink": 3, "text_window": 5})
    *_, last = cut(told(*each_second(*range(100))), CUT, settings)
    assert last.start_s == 96
    assert last.previous == "second 1 second" + " 92 second 94 second 95"


def test_words_are_spread_over_their_utterance_and_end_with_it() -> None:
    (clip,) = clips(told(Utterance(0.0, 3.0, "one two  three")))
    assert clip.words == (Word(0.0, 1.0, "one"), Word(1.0, 2.0, "two"), Word(2.0, 3.0, "three"))


def test_a_question_is_asked_at_the_end_of_a_clip_of_its_own() -> None:
    asked = TimedQuestion(6.4, "What?", "That.")
    options = TimedQuestion(7.0, "Which?", "A", ("this", "that"))
    its = told(*each_second(*range(8)), questions=(asked, options))
    (clip,) = [clip for clip in clips(its) if clip.asked]
    assert (clip.start_s, clip.end_s) == (2, 6)
    assert clip.asked == (Exchange(6.4, "What?", "That."),)


def test_clips_must_move_on() -> None:
    with pytest.raises(ConfigError, match="clips would never move on"):
        CutConfig(clip_s=4.0, overlap_s=4.0)
