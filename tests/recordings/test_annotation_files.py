"""Files of annotations are written as they were read."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.errors import WordsError
from streamingvlm_ros.recordings import subtitles
from streamingvlm_ros.recordings.annotation_files import (
    annotations_text,
    parse_annotations,
    read_annotations,
    read_utterances,
    write_annotations,
)
from streamingvlm_ros.recordings.annotations import Annotation, AnnotationFile, Utterance

FORMATS = [".jsonl", ".vtt", ".srt"]
WORDS = st.text("abcXYZ019 .,!?'äß\u2028", min_size=1).filter(str.strip)
MARKUP = ["{", "}", "{\\", "{\\an8}", "{\\}", "{b}", "<", "</", ">", "<b>", "</i>", "<font", "<v"]
MARKUP += ["\\N", "\\", "-->", "->", "&amp;", "&lt", "&", "NOTE", "WEBVTT", "42", "1"]
MARKUP += ["<00:00:01.000>", "00:00:01,000 --> 00:00:02,000", "00:01.000 --> 00:02.000"]
SPACES = [" ", "\t", "\n", "\n\n", "\r\n", "\r", "\u2028", "\x85", "\xa0", "\x0b", "\x1c", "\ufeff"]
PIECES = st.sampled_from([*MARKUP, *SPACES])
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
ANY_WORDS = st.lists(PIECES | CHARACTERS, max_size=12).map("".join)
TAGS = st.sampled_from(["", "<i>red</i> ", "<v Anna>", "&lt;b&gt; ", "<c.yellow>so</c> ", "{x} "])
LINES = st.builds("{}{}".format, TAGS, WORDS)
PAYLOADS = st.lists(LINES, min_size=1, max_size=3).map("\n".join)
MILLISECONDS = st.integers(0, 99 * 3_600_000 - 1)
BLANK_LINES = st.integers(1, 3).map("\n".__mul__)


MILLION_HOURS_MS = 10**6 * 3_600_000


def clock(ms: int, point: str) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


@st.composite
def vtt_cues(draw: st.DrawFn) -> str:
    identifier = draw(st.sampled_from(["", "1\n", "intro - 2\n", "NOTE 3\n"]))
    start, end = (clock(draw(MILLISECONDS), ".") for _ in range(2))
    start = draw(st.sampled_from([start, start[3:]]))
    arrow = draw(st.sampled_from([" --> ", "  -->\t"]))
    settings = draw(st.sampled_from(["", " ", " align:start line:0", "\tposition:10% "]))
    payload = draw(st.sampled_from(["", "\n"])) and f"\n{draw(PAYLOADS)}"
    return f"{identifier}{start}{arrow}{end}{settings}{payload}"


VTT_BLOCKS = vtt_cues() | st.sampled_from(
    ["NOTE a\nb", "STYLE\n::cue { color: red }", "REGION\nid:fred\nlines:3", "stray words"]
)


@st.composite
def vtt_files(draw: st.DrawFn) -> str:
    header = draw(st.sampled_from(["WEBVTT", "WEBVTT - a film", "WEBVTT\nKind: captions"]))
    blocks = [f"\n{draw(BLANK_LINES)}{draw(VTT_BLOCKS)}" for _ in range(draw(st.integers(0, 4)))]
    return header + "".join(blocks) + draw(st.sampled_from(["", "\n", "\n\n\n"]))


@st.composite
def srt_files(draw: st.DrawFn) -> str:
    cues = []
    for number in range(draw(st.integers(1, 4))):
        counter = draw(st.sampled_from(["", f"{number + 1}\n", " 7 \n"]))
        start, end = (clock(draw(MILLISECONDS), ",") for _ in range(2))
        place = draw(st.sampled_from(["", " X1:1 X2:2 Y1:3 Y2:4"]))
        paragraphs = "\n\n".join(draw(st.lists(PAYLOADS, max_size=2)))
        cues.append(f"{counter}{start} --> {end}{place}\n{paragraphs}")
    return f"\n{draw(BLANK_LINES)}".join(cues) + draw(st.sampled_from(["", "\n", "\n\n"]))


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
RECORDS = st.dictionaries(
    st.sampled_from(["start_s", "end_s", "text", "corrected", "label", "topic"]) | st.text(),
    JSON_VALUES,
    max_size=5,
)


@st.composite
def json_files(draw: st.DrawFn) -> str:
    records = draw(st.lists(RECORDS, max_size=4))
    separators = draw(st.sampled_from([(", ", ": "), (",", ":"), (" , ", " :\t")]))
    lines = [
        json.dumps(record, ensure_ascii=draw(st.booleans()), separators=separators)
        for record in records
    ]
    lines = [line if is_encodable(line) else json.dumps(json.loads(line)) for line in lines]
    return draw(BLANK_LINES).join(lines) + draw(st.sampled_from(["", "\n", "\n \n"]))


def is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


FILES = (
    st.tuples(st.just(".vtt"), vtt_files())
    | st.tuples(st.just(".srt"), srt_files())
    | st.tuples(st.just(".jsonl"), json_files())
)


@given(FILES, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\ufeff"]))
def test_a_file_is_written_as_it_was_read(
    file: tuple[str, str], newline: str, byte_order_mark: str
) -> None:
    suffix, content = file
    text = byte_order_mark + content.replace("\n", newline)
    annotations = parse_annotations(text, suffix)
    assert annotations_text(annotations) == text
    assert parse_annotations(annotations_text(annotations), suffix) == annotations


@given(FILES, st.data())
def test_an_edit_changes_nothing_else(file: tuple[str, str], data: st.DataObject) -> None:
    suffix, text = file
    annotations = parse_annotations(text, suffix)
    if not annotations.annotations:
        return
    changed = data.draw(st.integers(0, len(annotations.annotations) - 1))
    times = {"start_s": 1.25, "end_s": 3_600.5}
    edited = replace(
        annotations,
        annotations=tuple(
            annotation.with_fields(**times) if number == changed else annotation
            for number, annotation in enumerate(annotations.annotations)
        ),
    )
    read = parse_annotations(annotations_text(edited), suffix)
    # The counter of a cue of SRT that has none is added.
    assert [replace(a, cue_id="") for a in read.annotations] == [
        replace(a, cue_id="") for a in edited.annotations
    ]
    assert (read.header, read.footer) == (annotations.header, annotations.footer)


@pytest.mark.parametrize("suffix", FORMATS)
@given(times=st.lists(st.tuples(MILLISECONDS, WORDS), max_size=4))
def test_new_annotations_are_read_as_they_were_written(
    suffix: str, times: list[tuple[int, str]]
) -> None:
    utterances = [
        Utterance(ms / 1000, (ms + 1500) / 1000, " ".join(text.split())) for ms, text in times
    ]
    annotations = tuple(map(Annotation.of, utterances))
    text = annotations_text(AnnotationFile(suffix, annotations))
    if annotations or suffix != ".srt":
        read = parse_annotations(text, suffix).annotations
        assert [annotation.utterance() for annotation in read] == utterances


@pytest.mark.parametrize("suffix", FORMATS)
@given(
    cues=st.lists(
        st.tuples(st.integers(0, MILLION_HOURS_MS), st.integers(1, MILLION_HOURS_MS), ANY_WORDS),
        min_size=1,
        max_size=4,
    )
)
def test_any_words_at_any_time_are_read_as_they_were_written(
    suffix: str, cues: list[tuple[int, int, str]]
) -> None:
    utterances = [Utterance(ms / 1000, (ms + length) / 1000, text) for ms, length, text in cues]
    written = annotations_text(AnnotationFile(suffix, tuple(map(Annotation.of, utterances))))
    read = parse_annotations(written, suffix)
    # A cue's words are in one line; white space between them is a space.
    expected = utterances if suffix == ".jsonl" else [joined(u) for u in utterances]
    assert [annotation.utterance() for annotation in read.annotations] == expected
    assert not read.problems


def joined(utterance: Utterance) -> Utterance:
    return replace(utterance, text=re.sub("[ \t\r\n\f]+", " ", utterance.text).strip(" "))


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
@given(file=st.tuples(st.just(".vtt"), vtt_files()) | st.tuples(st.just(".srt"), srt_files()))
def test_cues_can_be_written_as_another_format(suffix: str, file: tuple[str, str]) -> None:
    source, text = file
    read = parse_annotations(text, source).annotations
    if not read:
        return
    annotations = tuple(replace(annotation, before="") for annotation in read)
    written = annotations_text(AnnotationFile(suffix, annotations))
    assert [a.fields for a in parse_annotations(written, suffix).annotations] == [
        a.fields for a in annotations
    ]


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_a_time_that_a_format_cannot_express_is_an_error(suffix: str) -> None:
    file = AnnotationFile(suffix, (Annotation.of(Utterance(-1.5, 1, "early")),))
    with pytest.raises(ValueError, match=r"can't express a time before 0, such as -1\.5 s"):
        annotations_text(file)


def test_every_field_of_a_line_is_written_back_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"label":"door", "start_s": 1.50, "end_s": 2, "text": "a cat", "score": [1e3]}\n'
        '{"start_s": 2, "end_s": 3, "text": "caf\\u00e9"}\n'
    )
    file = read_annotations(path)
    first, second = file.annotations
    corrected = replace(file, annotations=(first.with_fields(corrected="a dog"), second))
    write_annotations(path, corrected)
    assert path.read_text() == (
        '{"label": "door", "start_s": 1.5, "end_s": 2, "text": "a cat", "score": [1000.0], '
        '"corrected": "a dog"}\n'
        '{"start_s": 2, "end_s": 3, "text": "caf\\u00e9"}\n'
    )


def test_a_changed_cue_keeps_its_identifier_settings_and_markup(tmp_path: Path) -> None:
    path = tmp_path / "a.vtt"
    cue = "intro\n00:01.500 --> 00:03.000 align:start\n<v Anna>A <i>red</i> ball\nrolls."
    path.write_bytes(f"WEBVTT\r\n\r\nNOTE mine\r\n\r\n{cue}\r\n\r\nNOTE end\r\n".encode())
    file = read_annotations(path)
    (annotation,) = file.annotations
    assert (annotation.cue_id, annotation.settings) == ("intro", "align:start")
    assert annotation.markup == "<v Anna>A <i>red</i> ball\nrolls."
    later = annotation.with_fields(end_s=4.0)
    write_annotations(path, replace(file, annotations=(later,)))
    text = path.read_bytes().decode()
    assert "intro\r\n00:00:01.500 --> 00:00:04.000 align:start\r\n<v Anna>A <i>red" in text
    assert text.startswith("WEBVTT\r\n\r\nNOTE mine\r\n\r\nintro")
    assert text.endswith("rolls.\r\n\r\nNOTE end\r\n")
    other = annotation.with_fields(text="a < b")
    write_annotations(path, replace(file, annotations=(other,)))
    assert "align:start\r\na &lt; b\r\n" in path.read_bytes().decode()
    assert read_utterances(path) == [Utterance(1.5, 3.0, "a < b")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nroom\n12\n\n00:02.000 --> 00:03.000\nten\n"),
        (
            "a.srt",
            "1\n00:00:01,000 --> 00:00:02,000\nroom\n12\n\n2\n00:00:02,000 --> 00:00:03,000\nten",
        ),
    ],
)
def test_a_number_in_the_last_line_of_a_cue_is_not_taken_for_a_counter(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    assert [u.text for u in read_utterances(tmp_path / name)] == ["room 12", "ten"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("text", ["a {b c} d", "{}", r"C:\New\home", r"{\x", "{", "a } b \\"])
def test_braces_and_backslashes_are_text(suffix: str, text: str) -> None:
    written = annotations_text(
        AnnotationFile(suffix, (Annotation.of(Utterance(0.0, 1.0, text)),)),
    )
    assert [a.utterance().text for a in parse_annotations(written, suffix).annotations] == [text]


@pytest.mark.parametrize("text", ["", "words without times\n"])
def test_an_srt_file_without_subtitles_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.srt").write_text(text)
    with pytest.raises(WordsError, match=r"a\.srt, line 1: there are no subtitles"):
        read_utterances(tmp_path / "a.srt")


def test_a_file_of_another_format_is_an_error_that_names_the_formats(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(WordsError, match=r"must end in \.jsonl, \.vtt or \.srt"):
        read_utterances(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["a.ass", "a.ttml", "a.sbv", "a.lrc", "a.sub"])
def test_a_message_about_another_format_says_how_to_convert_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a")
    with pytest.raises(WordsError, match="convert other subtitles, for instance with ffmpeg -i"):
        read_utterances(tmp_path / name)


SRT = "1\n00:00:01,000 --> 00:00:02,000\ncafé\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_byte_order_mark_says_how_a_file_is_encoded(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    (tmp_path / "a.srt").write_bytes((mark + SRT).encode(encoding))
    assert read_utterances(tmp_path / "a.srt") == [Utterance(1, 2, "café")]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac-roman"])
def test_a_file_that_is_not_utf_8_is_an_error_with_the_line(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.srt").write_bytes(SRT.replace("\n", "\r\n").encode(encoding))
    with pytest.raises(WordsError, match=r"a\.srt, line 3: byte 0x.. is not UTF-8; save the file"):
        read_utterances(tmp_path / "a.srt")


def test_a_suffix_may_be_upper_case(tmp_path: Path) -> None:
    (tmp_path / "A.SRT").write_text(SRT)
    assert read_utterances(tmp_path / "A.SRT") == [Utterance(1, 2, "café")]


@given(suffix=st.sampled_from(FORMATS), content=st.binary(max_size=200), begin=st.booleans())
def test_any_bytes_are_read_or_are_an_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes, begin: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    beginning = {".vtt": b"WEBVTT\n\n00:01.000 --> ", ".srt": SRT.encode(), ".jsonl": b'{"a": '}
    path.write_bytes(beginning[suffix] * begin + content)
    with suppress(WordsError):
        read_utterances(path)


DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize("field", ["start_s", "end_s", "text"])
def test_a_deeply_nested_value_is_an_error_with_the_line(tmp_path: Path, field: str) -> None:
    good = '{"start_s": 0, "end_s": 1, "text": "a"}'
    bad = {"start_s": "0", "end_s": "1", "text": '"a"', field: DEEP}
    line = ", ".join(f'"{name}": {value}' for name, value in bad.items())
    (tmp_path / "a.jsonl").write_text(f"{good}\n{{{line}}}\n")
    with pytest.raises(WordsError, match=r"a\.jsonl, line 2: ") as caught:
        read_utterances(tmp_path / "a.jsonl")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("error", [RecursionError, MemoryError, TypeError, IndexError, OSError])
def test_whatever_a_reader_raises_is_an_error_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    (tmp_path / "a.srt").write_text(SRT)

    def fail(*_: object, **__: object) -> None:
        raise error("too much")

    monkeypatch.setattr(subtitles, "parse_cue", fail)
    with pytest.raises(WordsError, match=rf"a\.srt, {error.__name__}: too much"):
        read_utterances(tmp_path / "a.srt")


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
@pytest.mark.parametrize(
    ("cues", "shown"),
    [
        pytest.param([(1, 1), (1.25, 2)], [(1, 1.25), (1.25, 2)], id="until the next"),
        pytest.param([(1, 1), (9, 10)], [(1, 1.5), (9, 10)], id="at most a chunk"),
        pytest.param([(1, 2), (9, 9)], [(1, 2), (9, 9.5)], id="the last"),
        pytest.param([(2, 1), (2.25, 3)], [(2, 2.25), (2.25, 3)], id="backwards"),
        pytest.param([(1, 1), (1, 1), (1, 2)], [(1, 1.5), (1, 1.5), (1, 2)], id="same time"),
        pytest.param([(3, 3), (1, 2)], [(1, 2), (3, 3.5)], id="not in order"),
    ],
)
def test_a_cue_without_length_holds_until_the_next_and_is_reported(
    tmp_path: Path, suffix: str, cues: list[tuple[float, float]], shown: list[tuple[float, float]]
) -> None:
    file = AnnotationFile(suffix, tuple(Annotation.of(Utterance(*cue, "a")) for cue in cues))
    write_annotations(tmp_path / f"a{suffix}", file)
    problems = list[str]()
    read = read_utterances(tmp_path / f"a{suffix}", chunk_s=0.5, report=problems.append)
    assert [(u.start_s, u.end_s) for u in read] == shown
    [problem] = problems
    count = sum(end_s <= start_s for start_s, end_s in cues)
    what = f"{count} cue{'s' * (count > 1)} without length, shown until the next cue or for 0.5 s"
    assert re.fullmatch(rf"line \d+(, \d+)*: {re.escape(what)}", problem)


def test_a_report_of_many_cues_without_length_is_one_short_line(tmp_path: Path) -> None:
    file = AnnotationFile(".srt", tuple(Annotation.of(Utterance(n, n, "a")) for n in range(200)))
    write_annotations(tmp_path / "a.srt", file)
    problems = list[str]()
    assert len(read_utterances(tmp_path / "a.srt", report=problems.append)) == 200
    [problem] = problems
    assert problem.startswith("line 1, 5, 9, 13, 17, …: 200 cues without length, shown until")
