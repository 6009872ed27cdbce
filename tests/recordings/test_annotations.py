"""Utterances and questions in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamingvlm_ros.errors import WordsError
from streamingvlm_ros.recordings.annotation_files import read_utterances
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.recordings.questions import TimedQuestion, read_questions
from streamingvlm_ros.types import NS_PER_S as S

VTT = """WEBVTT
Kind: captions

STYLE
::cue { color: red }

NOTE nobody says this

1
00:01.500 --> 00:03.000 align:start
<v Anna>A red &lt;ball&gt; &amp; a dog
roll left.

01:00:00.000 --> 01:00:01.000
An hour later.
"""

SRT = """1
00:00:01,500 --> 00:00:03,000
A <i>red</i> ball
rolls left.

2
01:00:00,000 --> 01:00:01,000
Fish & chips.
"""


def file(folder: Path, name: str, *, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def lines(folder: Path, *records: object) -> Path:
    return file(folder, "a.jsonl", text="\n".join(map(json.dumps, records)))


def test_webvtt_is_read_with_its_entities_and_without_styles_and_notes(tmp_path: Path) -> None:
    assert read_utterances(file(tmp_path, "a.vtt", text=VTT)) == [
        Utterance(1.5, 3.0, "A red <ball> & a dog roll left."),
        Utterance(3600.0, 3601.0, "An hour later."),
    ]


def test_srt_is_read_without_entities(tmp_path: Path) -> None:
    assert read_utterances(file(tmp_path, "a.srt", text=SRT)) == [
        Utterance(1.5, 3.0, "A red ball rolls left."),
        Utterance(3600.0, 3601.0, "Fish & chips."),
    ]


@pytest.mark.parametrize("name", ["a.vtt", "a.srt"])
def test_windows_line_ends_and_byte_order_marks_do_not_matter(tmp_path: Path, name: str) -> None:
    text = {"a.vtt": VTT, "a.srt": SRT}[name]
    plain = read_utterances(file(tmp_path, name, text=text))
    assert (
        read_utterances(file(tmp_path, name, text="\ufeff" + text.replace("\n", "\r\n"))) == plain
    )


def test_json_lines_are_sorted_by_time_and_a_correction_precedes_the_text(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {"start_s": 2, "end_s": 3, "text": "a cat", "corrected": "a dog"},
        {"start_s": 0, "end_s": 2, "text": "", "corrected": ""},
    )
    assert read_utterances(path) == [Utterance(0, 2, ""), Utterance(2, 3, "a dog")]


def test_a_correction_to_a_space_is_a_silence(tmp_path: Path) -> None:
    path = lines(tmp_path, {"start_s": 0, "end_s": 1, "text": "a cat", "corrected": " "})
    (utterance,) = read_utterances(path)
    assert not utterance.text.split()


def test_json_lines_may_have_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    text = '\ufeff{"start_s": 0, "end_s": 1, "text": "a\u2028b"}\r\n\r\n'
    assert read_utterances(file(tmp_path, "a.jsonl", text=text)) == [Utterance(0, 1, "a\u2028b")]


def test_lines_of_a_saved_clip_are_placed_by_the_cameras_time(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {"start_s": 0.2, "end_s": 1.2, "text": "a", "start_ns": 101 * S, "end_ns": 102 * S},
    )
    assert read_utterances(path, origin_ns=100 * S) == [Utterance(1.0, 2.0, "a")]
    assert read_utterances(path) == [Utterance(0.2, 1.2, "a")]


def test_questions_are_in_json_lines(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match=r"a\.vtt: its name must end in \.jsonl"):
        read_questions(file(tmp_path, "a.vtt", text=VTT))


def test_options_are_answered_by_a_letter(tmp_path: Path) -> None:
    asked = {"time_s": 3, "question": "Which?", "answer": "B", "options": ["red", "blue"]}
    assert read_questions(lines(tmp_path, asked)) == [
        TimedQuestion(3.0, "Which?", "B", ("red", "blue"))
    ]
    with pytest.raises(WordsError, match=r"line 1: .*'C' is not the letter"):
        read_questions(lines(tmp_path, {**asked, "answer": "C"}))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"start_s": 0, "end_s": 1}', "text"),
        (
            '{"start_s": 1, "end_s": 1, "text": "a"}',
            "it must end after it begins at 1.0 s, not at 1.0 s",
        ),
        ('{"start_s": "soon", "end_s": 1, "text": "a"}', "soon"),
        ('{"start_s": NaN, "end_s": 1, "text": "a"}', "`start_s` must be a time, not NaN"),
        ('{"start_s": 0, "end_s": Infinity, "text": "a"}', "`end_s` must be a time, not Infinity"),
        ('{"start_s": 0, "end_s": 1e300, "text": "a"}', "`end_s` must be a time, not 1e"),
        ('{"start_s": 0, "end_s": 1, "text": null}', "`text` must be text, not null"),
        ('{"start_s": 0, "end_s": 1, "text": "\\ud800?"}', "`text` contains an unpaired surrogate"),
        ("[1]", r"must be a JSON object, not \[1\]"),
        ("{", "invalid JSON at column 2"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_an_invalid_line_is_an_error_with_its_number(tmp_path: Path, line: str, why: str) -> None:
    good = '{"start_s": 0, "end_s": 1, "text": "a"}'
    with pytest.raises(WordsError, match=rf"a\.jsonl, line 2: .*{why}") as caught:
        read_utterances(file(tmp_path, "a.jsonl", text=f"{good}\n{line}\n"))
    assert "Error" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"answer": None}, "`answer` must be text, not null"),
        ({"question": ["Which?"]}, '`question` must be text, not ["Which?"]'),
        ({"question": "Which \ud800?"}, "`question` contains an unpaired surrogate"),
        ({"time_s": float("nan")}, "`time_s` must be a time, not NaN"),
        ({"time_s": None}, "`time_s` must be a time, not null"),
        ({"options": "red"}, '`options` must be a list of at most 26, not "red"'),
        ({"options": {"A": "red"}}, "`options` must be a list of at most 26"),
        ({"options": [None]}, "`options` must be text, not null"),
        ({"options": [f"option {n}" for n in range(27)]}, "`options` must be a list of at most 26"),
        ({"options": ["red"], "answer": "["}, "is not the letter"),
    ],
)
def test_an_invalid_question_is_an_error_with_its_number(
    tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    asked = {"time_s": 3, "question": "Which?", "answer": "A", **changes}
    with pytest.raises(WordsError, match=r"a\.jsonl, line 1: ") as caught:
        read_questions(lines(tmp_path, asked))
    assert why in str(caught.value)


def test_blocks_between_cues_are_not_spoken(tmp_path: Path) -> None:
    between = (
        "NOTE nobody\nsays this\n\nREGION\nid:fred\n\nSTYLE\n::cue { color: red }\n\nlast words\n"
    )
    text = VTT.replace("01:00:00.000", f"{between}01:00:00.000", 1)
    assert [
        utterance.text for utterance in read_utterances(file(tmp_path, "a.vtt", text=text))
    ] == [
        "A red <ball> & a dog roll left.",
        "An hour later.",
    ]
