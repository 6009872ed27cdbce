"""WebVTT is read by the rules of the standard's parser."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.recordings.annotation_files import parse_annotations

Cue = tuple[float, float, str]


def cues(text: str) -> list[Cue]:
    return [
        (a.fields["start_s"], a.fields["end_s"], a.fields["text"])
        for a in parse_annotations(text, ".vtt").annotations
    ]


def words(markup: str) -> str:
    [(_, _, text)] = cues(f"WEBVTT\n\n00:00.000 --> 00:01.000\n{markup}\n")
    return text


@dataclass
class Written:
    """A piece of a file, with the cues that a player shows and the number of lines it ignores."""

    text: str
    shown: list[Cue] = field(default_factory=list)
    ignored: int = 0


HEADERS = [
    "",
    " ",
    "\t",
    " - a film",
    "\nKind: captions\nLanguage: en",
    "\nX-TIMESTAMP-MAP=LOCAL:0",
]
TIMES = {
    "00:00.000": 0.0,
    "59:59.999": 3599.999,
    "00:00:01.250": 1.25,
    "1:00:00.000": 3600.0,
    "099:00:00.001": 356_400.001,
    "100:00:01.000": 360_001.0,
    "1000000:00:00.001": 3_600_000_000.001,
}
NOT_TIMES = [
    "0:01.000",  # minutes of one digit
    "60:00.000",
    "00:60.000",
    "00:00:60.000",
    "00:60:00.000",
    "00:01",  # without milliseconds
    "00:01.00",
    "00:01.0000",
    "00:01,000",
    "00:01:000",
    "-00:01.000",
    "00.01.000",
    "１０:01.000",  # digits that are not ASCII's  # noqa: RUF001
    "99999999999999999999:00:00.000",  # more than a stamp can express
    "9" * 5000 + ":00:00.000",
    "",
]
ARROWS = [" --> ", "-->", "\t-->\t", "   -->  "]
SETTINGS = ["", " ", " align:start line:0", "\tposition:10%,line-left", " nonsense"]
MARKUP = {
    "": "",
    "The sign says {EXIT} here.": "The sign says {EXIT} here.",
    r"C:\Users\New\home": r"C:\Users\New\home",
    '{"action": "stop"}': '{"action": "stop"}',
    "It shows\n42": "It shows 42",
    "42": "42",
    "this<00:00:01.200><c> will</c><00:00:01.500><c> happen</c>": "this will happen",
    " \nrolling<00:00:00.719><c> captions</c>": "rolling captions",
    "<v Ann>We <b>go</b> &amp; wait": "We go & wait",
    "<c.yellow.bg_blue>so</c> <lang en>what</lang>": "so what",
    "<ruby>base<rt>gloss</rt></ruby>": "basegloss",
    "a <unknown>b</unknown> <3>": "a b",
    "a < b": "a",
    "1 &lt; 2 &gt; 0, &#65;&#x42;&lrm;&nbsp;&eacute;": "1 < 2 > 0, AB\u200e\xa0é",
    "&unknown; & &amp;lt;": "&unknown; & &lt;",
    "a\0b": "a\ufffdb",
    "a\u2028b\x85c": "a\u2028b\x85c",
    "NOTE\nis no comment here": "NOTE is no comment here",
    "Dialogue: 0,0:00:01.00": "Dialogue: 0,0:00:01.00",
}
IDENTIFIERS = ["", "1\n", "intro - 2\n", "NOTE 3\n", "STYLE\n", "00:01.000 -> 00:02.000\n"]
OTHER_BLOCKS = [
    Written("NOTE"),
    Written("NOTE nobody\nsays this"),
    Written("NOTE\ttab"),
    Written("STYLE\n::cue { color: red }"),
    Written("REGION\nid:fred\nlines:3"),
    Written("words without times", ignored=1),
    Written("NOTES", ignored=1),
]


@st.composite
def timed_blocks(draw: st.DrawFn) -> Written:
    begin = draw(st.sampled_from([*TIMES, *NOT_TIMES]))
    end = draw(st.sampled_from([*TIMES, *NOT_TIMES]))
    heading, arrow, settings = (draw(st.sampled_from(x)) for x in (IDENTIFIERS, ARROWS, SETTINGS))
    markup = draw(st.sampled_from([*MARKUP]))
    text = f"{heading}{begin}{arrow}{end}{settings}" + (markup and f"\n{markup}")
    if begin not in TIMES or end not in TIMES:
        return Written(text, ignored=1)
    unclosed = markup == "a < b"
    return Written(text, [(TIMES[begin], TIMES[end], MARKUP[markup])], ignored=int(unclosed))


@given(
    st.sampled_from(HEADERS),
    st.lists(timed_blocks() | st.sampled_from(OTHER_BLOCKS), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", "\ufeff"]),
    st.sampled_from(["", "\n", "\n\n\n"]),
)
def test_a_file_has_the_cues_that_its_blocks_have(
    header: str, blocks: list[Written], newline: str, mark: str, end: str
) -> None:
    text = "\n\n".join([f"WEBVTT{header}", *(block.text for block in blocks)]) + end
    text = mark + text.replace("\n", newline)
    assert cues(text) == [cue for block in blocks for cue in block.shown]
    problems = parse_annotations(text, ".vtt").problems
    assert len(problems) == sum(block.ignored for block in blocks)


@pytest.mark.parametrize(("markup", "text"), MARKUP.items())
def test_the_words_of_a_cue_are_its_text_without_markup(markup: str, text: str) -> None:
    assert words(markup) == text


@pytest.mark.parametrize("wrong", NOT_TIMES)
def test_a_cue_without_valid_times_is_left_out_with_its_line(wrong: str) -> None:
    for first, second in ((wrong, "00:01.000"), ("00:01.000", wrong)):
        text = f"WEBVTT\n\nid\n{first} --> {second}\nlost\n\n00:01.000 --> 00:02.000\nshown\n"
        assert cues(text) == [(1.0, 2.0, "shown")]
        [problem] = parse_annotations(text, ".vtt").problems
        assert problem.startswith("line 4: '")
        assert problem.endswith(
            "has no times such as 00:00:01.000 --> 00:00:02.500: the cue is left out"
        )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "WEBVTTX\n\n00:01.000 --> 00:02.000\na",
        "WEBVTT\f\n\n00:01.000 --> 00:02.000\na",
        "webvtt\n\n00:01.000 --> 00:02.000\na",
        "\nWEBVTT\n\n00:01.000 --> 00:02.000\na",
        " WEBVTT\n\n00:01.000 --> 00:02.000\na",
        "1\n00:00:01,000 --> 00:00:02,000\na\n",
        '<tt xmlns="http://www.w3.org/ns/ttml"/>',
        "[Script Info]\n",
    ],
)
def test_a_file_without_signature_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1: a \.vtt file must begin with WEBVTT, not"):
        parse_annotations(text, ".vtt")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("WEBVTT\n00:01.000 --> 00:02.000\na", ["a"], id="right below the signature"),
        pytest.param("WEBVTT\nid\n00:01.000 --> 00:02.000\na", ["a"], id="below a header"),
        pytest.param(
            "WEBVTT\n\n00:01.000 --> 00:02.000\nroom\n12\n00:02.000 --> 00:03.000\nten",
            ["room 12", "ten"],
            id="no empty line before the next cue",
        ),
        pytest.param(
            "WEBVTT\n\n00:01.000 --> 00:02.000\n00:02.000 --> 00:03.000\nb",
            ["", "b"],
            id="times below times",
        ),
        pytest.param(
            "WEBVTT\n\n00:01.000 --> 00:02.000\na\nb --> c\nd", ["a"], id="an arrow ends a cue"
        ),
        pytest.param(
            "WEBVTT\n\n00:01.000 --> 00:02.000\na\n \nb", ["a b"], id="a line with a space"
        ),
        pytest.param(
            "WEBVTT\n\n00:01.000 --> 00:02.000\na\n\nb", ["a"], id="an empty line ends a cue"
        ),
        pytest.param("WEBVTT\n\n-->\n00:01.000 --> 00:02.000\na", ["a"], id="an arrow alone"),
        pytest.param("WEBVTT\n\n00:01.000 --> 00:02.000", [""], id="no text"),
        pytest.param("WEBVTT\n\n00:02.000 --> 00:01.000\na", ["a"], id="backwards"),
        pytest.param("WEBVTT\n\n00:01.000 --> 00:02.000align:end\na", ["a"], id="no space"),
    ],
)
def test_blocks_end_where_the_standard_says(text: str, shown: list[str]) -> None:
    assert [words for _, _, words in cues(text)] == shown


def test_words_outside_a_cue_are_reported_with_their_line() -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\na\n\nlost words\n\nNOTE a comment\n"
    assert parse_annotations(text, ".vtt").problems == (
        "line 6: 'lost words' belongs to no cue and is left out",
    )
