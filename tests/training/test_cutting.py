"""Recordings cut into clips that overlap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.recordings.questions import TimedQuestion
from streamingvlm_training.datasets.cutting import (
    AnnotatedRecording,
    CutConfig,
    cut,
    unused_questions,
    words_after_end,
)
from streamingvlm_training.datasets.record import ClipRecord, Exchange, Word

SETTINGS = Settings()
CUT = CutConfig(clip_s=4.0, overlap_s=2.0)


def annotated(
    *utterances: Utterance,
    questions: tuple[TimedQuestion, ...] = (),
    duration_s: float | None = 300.0,
    gaps_are_silence: bool = False,
) -> AnnotatedRecording:
    return AnnotatedRecording(
        path=Path("/world"),
        camera="/image",
        duration_s=duration_s,
        utterances=utterances,
        questions=questions,
        gaps_are_silence=gaps_are_silence,
    )


def each_second(*seconds: int) -> list[Utterance]:
    return [Utterance(n, n + 1, f"second {n}" if n % 3 else "") for n in seconds]


def clips(recording: AnnotatedRecording) -> list[ClipRecord]:
    return list(cut(recording, CUT, settings=SETTINGS))


def times(recording: AnnotatedRecording) -> list[tuple[float, float]]:
    return [(clip.start_s, clip.end_s) for clip in clips(recording)]


def test_clips_overlap_and_the_last_may_be_shorter() -> None:
    assert times(annotated(*each_second(*range(9)))) == [(0, 4), (2, 6), (4, 8), (6, 9)]
    assert times(annotated(*each_second(*range(3)))) == [(0, 3)]
    assert times(annotated(*each_second(0))) == []


def test_the_papers_clips_are_24_s_and_share_12() -> None:
    recording = annotated(*each_second(*range(60)))
    spans = [(clip.start_s, clip.end_s) for clip in cut(recording, CutConfig(), settings=SETTINGS)]
    assert spans == [(0, 24), (12, 36), (24, 48), (36, 60)]


def test_unlabelled_time_is_in_no_clip() -> None:
    assert times(annotated(*each_second(0, 1, 2, 10, 11, 12))) == [(0, 3), (10, 13)]


def test_gaps_between_subtitles_are_silence() -> None:
    recording = annotated(Utterance(1.0, 2.0, "once"), duration_s=6.0, gaps_are_silence=True)
    first, second = clips(recording)
    assert (first.start_s, second.end_s) == (0, 6)
    assert [word.text for word in first.words] == ["once"]
    assert second.words == ()


def test_a_clip_has_the_words_before_it_and_only_the_first_has_the_instruction() -> None:
    first, second, _ = clips(annotated(*each_second(*range(8))))
    assert (first.previous, first.instruction) == ("", SETTINGS.prompt.instruction)
    assert (second.previous, second.instruction) == ("second 1", "")
    assert [word.text for word in second.words] == ["second", "2", "second", "4", "second", "5"]


def test_the_words_before_a_clip_are_limited_to_a_window() -> None:
    settings = Settings().updated({"text_sink": 3, "text_window": 5})
    *_, last = cut(annotated(*each_second(*range(100))), CUT, settings=settings)
    assert last.start_s == 96
    assert last.previous == "second 1 second" + " 92 second 94 second 95"


def test_words_are_spread_over_their_utterance_and_end_with_it() -> None:
    (clip,) = clips(annotated(Utterance(0.0, 3.0, "one two  three")))
    assert clip.words == (Word(0.0, 1.0, "one"), Word(1.0, 2.0, "two"), Word(2.0, 3.0, "three"))


def test_words_are_in_the_clips_in_which_they_end_though_their_utterance_does_not() -> None:
    cue = Utterance(1.0, 9.0, "a b c d e f g h")
    recording = annotated(cue, duration_s=10.0, gaps_are_silence=True)
    words_by_clip = [
        (clip.previous, " ".join(word.text for word in clip.words)) for clip in clips(recording)
    ]
    assert words_by_clip == [
        ("", "a b c"),
        ("a", "b c d e"),
        ("a b c", "d e f g"),
        ("a b c d e", "f g h"),
    ]


def test_clips_end_with_the_images_however_late_the_words_end() -> None:
    recording = replace(annotated(Utterance(0.0, 36_000.0, "a car")), duration_s=29.2)
    cuts = clips(recording)
    assert (len(cuts), cuts[-1].end_s) == (14, 30.0)
    assert times(replace(recording, duration_s=0.04)) == []
    assert times(replace(annotated(*each_second(*range(60, 70))), duration_s=8.0)) == []
    assert times(replace(annotated(*each_second(*range(4))), duration_s=None)) == [(0, 4)]


def test_subtitles_of_a_recording_of_unknown_length_are_known_to_their_last_word() -> None:
    utterances = Utterance(4.0, 5.0, "last"), Utterance(1.0, 2.0, "once")
    recording = annotated(*utterances, duration_s=None, gaps_are_silence=True)
    assert times(recording) == [(0, 4), (2, 5)]


def test_utterances_that_end_after_the_recording_are_reported() -> None:
    recording = replace(annotated(*each_second(*range(12))), duration_s=8.9)
    assert list(words_after_end(recording, SETTINGS.frames)) == [
        "2 of its utterances end up to 3.00 s after it and are incomplete in its clips"
    ]
    assert not list(words_after_end(replace(recording, duration_s=None), SETTINGS.frames))
    silent = replace(annotated(*each_second(8), Utterance(9, 30, " ")), duration_s=9.0)
    assert not list(words_after_end(silent, SETTINGS.frames))


def test_a_blank_text_is_a_silence() -> None:
    first, second = clips(annotated(Utterance(0.0, 3.0, " "), Utterance(3.0, 6.0, "words")))
    assert (first.words, second.previous) == ((), "")
    assert second.words == (Word(3.0, 6.0, "words"),)


def test_a_short_utterance_within_a_longer_one_does_not_end_the_labelled_time() -> None:
    recording = annotated(
        Utterance(0, 10, "long"), Utterance(2, 3, "short"), Utterance(9, 12, "late")
    )
    assert times(recording) == [(0, 4), (2, 6), (4, 8), (6, 10), (8, 12)]
    assert [word.text for clip in clips(recording) for word in clip.words if clip.start_s == 8] == [
        "long",
        "late",
    ]


@pytest.mark.parametrize(("chunk_s", "fps"), [(0.2, 5.0), (0.1, 10.0), (0.7, 10.0), (0.3, 10.0)])
def test_a_clip_has_whole_chunks_despite_rounding_of_floats(chunk_s: float, fps: float) -> None:
    settings = Settings().updated({"chunk_seconds": chunk_s, "fps": fps})
    config = CutConfig(clip_s=round(120 * chunk_s, 6), overlap_s=round(60 * chunk_s, 6))
    step_s = 60 * chunk_s
    each = [
        Utterance(round(n * chunk_s, 6), round((n + 1) * chunk_s, 6), str(n)) for n in range(300)
    ]
    cuts = list(cut(annotated(*each), config, settings=settings))
    spans = [(clip.start_s, clip.end_s) for clip in cuts]
    assert spans == [(round(n * step_s, 6), round(n * step_s + 120 * chunk_s, 6)) for n in range(4)]
    assert [len(clip.words) for clip in cuts] == 4 * [120]


def test_a_clip_of_less_than_two_rounds_or_that_does_not_advance_is_rejected() -> None:
    settings = Settings().updated({"chunk_seconds": 3.0})
    for config in (CutConfig(clip_s=5.0, overlap_s=0.0), CutConfig(clip_s=9.0, overlap_s=7.0)):
        with pytest.raises(ConfigError, match=r"by whole chunks of 3\.0 s"):
            list(cut(annotated(*each_second(*range(20))), config, settings=settings))


def test_a_question_comes_at_the_end_of_its_own_clip() -> None:
    asked = TimedQuestion(6.4, "What?", "That.")
    options = TimedQuestion(7.0, "Which?", "A", ("this", "that"))
    recording = annotated(*each_second(*range(8)), questions=(asked, options))
    (clip,) = [clip for clip in clips(recording) if clip.asked]
    assert (clip.start_s, clip.end_s) == (2, 6)
    assert clip.asked == (Exchange(6.4, "What?", "That."),)


def test_a_question_comes_after_whole_chunks_wherever_labelled_time_begins() -> None:
    recording = annotated(
        Utterance(0.37, 6.0, "words"), questions=(TimedQuestion(3.2, "What?", "That."),)
    )
    (clip,) = [clip for clip in clips(recording) if clip.asked]
    assert (clip.start_s, clip.end_s) == (1, 3)
    assert times(recording) == [(1, 5), (3, 6), (1, 3)]


def test_a_question_comes_after_whole_chunks_whatever_the_length_of_clips() -> None:
    recording = annotated(
        *each_second(*range(8)), questions=(TimedQuestion(6.4, "What?", "That."),)
    )
    config = CutConfig(clip_s=3.5, overlap_s=1.5)
    (clip,) = [clip for clip in cut(recording, config, settings=SETTINGS) if clip.asked]
    assert (clip.start_s, clip.end_s) == (3, 6)


def test_questions_that_are_in_no_clip_are_reported_with_reasons() -> None:
    def asked(time_s: float, *options: str) -> TimedQuestion:
        return TimedQuestion(time_s, "What?", "A", options)

    recording = annotated(
        *each_second(*range(8), *range(20, 24)), questions=(asked(2.0), asked(8.9))
    )
    assert not list(unused_questions(recording, SETTINGS.frames))
    early, between, late = asked(1.9), asked(21.5), asked(30.0)
    chosen = asked(5.0, "this", "that")
    recording = replace(
        recording, questions=(early, chosen, asked(5.0), between, late, replace(late))
    )
    assert len([clip for clip in clips(recording) if clip.asked]) == 1
    assert list(unused_questions(recording, SETTINGS.frames)) == [
        "5 of its questions are not learnt: 2 without two rounds of known words right "
        "before, 1 with options, 2 after the last words or images"
    ]


def test_clips_must_overlap_by_less_than_their_length() -> None:
    with pytest.raises(ConfigError, match=r"overlap_s \(4.0\) must be less than clip_s \(4.0\)"):
        CutConfig(clip_s=4.0, overlap_s=4.0)
