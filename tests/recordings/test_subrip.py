"""SRT is read by the customs of SubRip."""

from __future__ import annotations

import pytest

from streamingvlm_ros.recordings.annotation_files import annotations_text, parse_annotations
from streamingvlm_ros.recordings.annotations import Annotation, AnnotationFile, Utterance

Cue = tuple[float, float, str]

FIRST, SECOND = "00:00:01,000 --> 00:00:02,000", "00:00:03,000 --> 00:00:04,000"


def cues(text: str) -> list[Cue]:
    return [
        (a.fields["start_s"], a.fields["end_s"], a.fields["text"])
        for a in parse_annotations(text, ".srt").annotations
    ]


def words(markup: str) -> str:
    [(_, _, text)] = cues(f"1\n{FIRST}\n{markup}\n")
    return text


@pytest.mark.parametrize(
    "line",
    [
        "12:30:15: the robot stops",
        "{1}{25} boxes are red",
        "[1][25] boxes are red",
        "[Script Info] is shown beside [V4+ Styles]",
        "the page says http://www.w3.org/ns/ttml and <tt xmlns=",
        "<SAMI> and <transcript> and Dialogue: 0,0:00:01.00,0:00:02.00",
        '{"action": "stop"}',
        "The sign says {EXIT} here.",
        r"C:\New\home and \N",
        "WEBVTT",
        "Fish &amp; chips &lt;b&gt;",
        "a --> b -> c",
        "42",
        "<stop> 1 < 2 > 0 <3",
        "00:00:05,000 --> 00:00:06,000 is written on it",
        "a\u2028b\x85c\xa0",
    ],
)
def test_no_words_are_taken_for_another_formats_markup(line: str) -> None:
    assert cues(f"1\n{FIRST}\n{line}\n\n2\n{SECOND}\nend\n") == [(1, 2, line), (3, 4, "end")]


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (r"{\an8}The sign says {EXIT}", "The sign says {EXIT}"),
        (r"{\an8\pos(192,10)}up", "up"),
        ("<i>red</i> <B>ball</B> <u>rolls</u> <s>far</s>", "red ball rolls far"),
        ('<font color="#ff0000">red</font> ball', "red ball"),
        ("{b}red{/b} ball", "red ball"),
        ("It shows\n42", "It shows 42"),
        ("a\n\nb", "a b"),
    ],
)
def test_only_subrips_markup_is_left_out(markup: str, text: str) -> None:
    assert words(markup) == text


@pytest.mark.parametrize(
    ("times", "start_s", "end_s"),
    [
        ("100:00:01,000 --> 100:00:02,000", 360_001, 360_002),
        ("1000000:00:00,001 --> 1000000:00:00,002", 3_600_000_000.001, 3_600_000_000.002),
        ("0:00:01,000 --> 0:00:02,000", 1, 2),
        ("00:00:01.000 --> 00:00:02.000", 1, 2),
        ("00:00:01,5 --> 00:00:02,25", 1.5, 2.25),
        ("0:00:01.500000 --> 0:00:02.250000", 1.5, 2.25),
        ("00:00:01 --> 00:00:02", 1, 2),
        ("00:01,000 --> 00:02,000", 1, 2),
        ("00:00:01,000-->00:00:02,000", 1, 2),
        ("  00:00:01,000  -->  00:00:02,000  ", 1, 2),
        ("00:00:01,000 --> 00:00:02,000 X1:10 X2:20 Y1:30 Y2:40", 1, 2),
        ("00:00:01,000 --> 00:00:02,000 position:50% align:middle", 1, 2),
    ],
)
def test_times_are_exact(times: str, start_s: float, end_s: float) -> None:
    assert cues(f"1\n{times}\na door\n") == [(start_s, end_s, "a door")]


@pytest.mark.parametrize(
    "times",
    [
        "00:00:03;000 --> 00:00:04;000",
        "00:00:03:000 --> 00:00:04:000",
        "00:00:03,000 -> 00:00:04,000",
        "-00:00:03,000 --> 00:00:04,000",
        "00:00:03,000 --> 00:00:04,000 00:00:05,000",
        "99999999999:00:00,000 --> 99999999999:00:01,000",
    ],
)
def test_a_cue_without_valid_times_is_left_out_with_its_line(times: str) -> None:
    text = f"1\n{FIRST}\na\n\n2\n{times}\nlost\n\n3\n{SECOND}\nb\n"
    assert cues(text) == [(1, 2, "a"), (3, 4, "b")]
    [problem] = parse_annotations(text, ".srt").problems
    assert problem.startswith(f"line 6: '{times[:20]}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(f"1\n{FIRST}\na\n2\n{SECOND}\nb", ["a", "b"], id="no blank lines"),
        pytest.param(f"{FIRST}\na\n\n{SECOND}\nb", ["a", "b"], id="no counters"),
        pytest.param(f"{FIRST}\nroom\n12\n{SECOND}\nb", ["room 12", "b"], id="neither"),
        pytest.param(f"1\n{FIRST}\nroom\n12\n\n2\n{SECOND}\nb", ["room 12", "b"], id="a number"),
        pytest.param(f"1\n{FIRST}\n12\n2\n{SECOND}\nb", ["12", "b"], id="only a number"),
        pytest.param(f"1\n{FIRST}\n2\n{SECOND}\nb", ["", "b"], id="no words"),
        pytest.param(f"\n\n 1 \n{FIRST}\na\n \n\t\n 2\n{SECOND}\nb\n\n", ["a", "b"], id="spaces"),
        pytest.param(f"7\n{FIRST}\na\n\n7\n{SECOND}\nb", ["a", "b"], id="counters repeat"),
        pytest.param(f"1\n{FIRST}\n{SECOND}\n\n2\n{SECOND}\nb", [SECOND, "b"], id="times as words"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_cue_ends_where_the_next_begins(text: str, shown: list[str], newline: str) -> None:
    assert [words for _, _, words in cues(text.replace("\n", newline))] == shown


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1: there are no subtitles"),
        ("words without times\n", "line 1: there are no subtitles"),
        ("[Script Info]\n\nDialogue: 0,0:00:01.00,0:00:02.00,a", "line 1: there are no subtitles"),
        ('<tt xmlns="http://www.w3.org/ns/ttml"/>', "line 1: there are no subtitles"),
        ("1\0\n\0\0", "NUL characters: save it as UTF-8"),
        (f"WEBVTT\n\n{FIRST}\na", "line 1: it begins with WEBVTT: give it a name that ends in"),
        ("1\n00:00:01;000 --> 00:00:02;000\na\n", "line 2: .*the cue is left out"),
    ],
)
def test_a_file_without_subtitles_is_an_error(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_annotations(text, ".srt")


def test_words_before_the_first_cue_are_reported() -> None:
    problems = parse_annotations(f"\nwords\n\n1\n{FIRST}\na", ".srt").problems
    assert problems == ("line 2: 'words' belongs to no cue and is left out",)


@pytest.mark.parametrize(
    "text", ["<b>", "{\\an8}", "{b}", "<font {\\an8}>", "{\\}", "<i", "{\\ <i>"]
)
def test_words_that_look_like_markup_are_written_as_words(text: str) -> None:
    file = AnnotationFile(".srt", (Annotation.of(Utterance(0, 1, text)),))
    assert [words for _, _, words in cues(annotations_text(file))] == [text]
