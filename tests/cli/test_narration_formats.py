"""Text, JSON lines and WebVTT."""

import io
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.cli.narration_formats import Format, Writer
from streamingvlm_ros.recordings.annotation_files import parse_annotations
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.time_format import clamp, format_clock
from streamingvlm_ros.types import NS_PER_S, Narration

from .webvtt import read_cues

NS_PER_MS = NS_PER_S // 1000


def narration(text: str, start_s: float = 0.0, *, end_s: float | None = None) -> Narration:
    end_s = start_s + 1 if end_s is None else end_s
    return Narration(
        text=text,
        start_ns=round(start_s * NS_PER_S),
        end_ns=round(end_s * NS_PER_S),
        newest_ns=round(end_s * NS_PER_S) - 1,
        frames=2,
        tokens=5,
    )


def formatted(format: Format, *narrations: Narration) -> str:
    file = io.StringIO()
    writer = Writer(format, file=file)
    for item in narrations:
        writer(item)
    return file.getvalue()


def test_text_has_one_line_per_spoken_round() -> None:
    lines = formatted(
        Format.TEXT, narration("a cat"), narration("", 1), narration("it\njumps", 75)
    ).splitlines()
    assert lines == ["[0:00] a cat", "[1:15] it jumps"]


def test_json_lines_contain_every_round_with_seconds_from_the_start() -> None:
    text = formatted(
        Format.JSONL, narration("katze “grün”", 0.5, end_s=1.5), narration("", 1.5, end_s=2.0)
    )
    first, second = map(json.loads, text.splitlines())
    assert first == {
        "start_s": 0.5, "end_s": 1.5, "text": "katze “grün”", "frames": 2, "tokens": 5,
    }  # fmt: skip
    assert second["text"] == ""


def test_vtt_has_a_cue_for_every_spoken_round_only() -> None:
    vtt = formatted(
        Format.VTT, narration("a cat"), narration("", 1), narration("jumps", 2.25, end_s=3.0)
    )
    assert read_cues(vtt) == [(0.0, 1.0, "a cat"), (2.25, 3.0, "jumps")]


def test_vtt_without_narration_is_still_valid() -> None:
    assert formatted(Format.VTT).split("\n")[0] == "WEBVTT"


def test_vtt_escapes_markup_and_arrows() -> None:
    [(_, _, text)] = read_cues(formatted(Format.VTT, narration("a <b> & c --> d\n\nNOTE x")))
    assert text == "a &lt;b&gt; &amp; c --&gt; d NOTE x"


def test_times_before_the_start_are_negative_in_text_and_cut_in_vtt() -> None:
    early = narration("long ago", -75.0), narration("almost", -0.5), narration("now", 0.5)
    assert formatted(Format.TEXT, early[0]) == "[-1:15] long ago\n"
    assert read_cues(formatted(Format.VTT, *early)) == [(0.0, 0.5, "almost"), (0.5, 1.5, "now")]


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
MARKUP = st.sampled_from(["{a}", "\\N", "<b>", "-->", "&amp;", "42", "NOTE", "\n\n", "\u2028"])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6 * 3_600_000),
            st.lists(WORDS | MARKUP, min_size=1, max_size=5).map(" ".join),
        ),
        max_size=4,
    )
)
def test_narrations_are_read_back_from_vtt_and_json_lines(rounds: list[tuple[int, str]]) -> None:
    narrations = [
        replace(narration(text), start_ns=ms * NS_PER_MS, end_ns=(ms + 1000) * NS_PER_MS)
        for ms, text in rounds
    ]
    times_s = [(ms / 1000, (ms + 1000) / 1000) for ms, _ in rounds]
    cues = parse_annotations(formatted(Format.VTT, *narrations), ".vtt")
    assert not cues.problems
    assert [cue.utterance() for cue in cues.annotations] == [
        Utterance(*times, re.sub("[ \t\r\n\f]+", " ", text).strip(" "))
        for times, (_, text) in zip(times_s, rounds, strict=True)
    ]
    lines = parse_annotations(formatted(Format.JSONL, *narrations), ".jsonl")
    assert [line.utterance() for line in lines.annotations] == [
        Utterance(*times, text) for times, (_, text) in zip(times_s, rounds, strict=True)
    ]


@pytest.mark.parametrize(
    ("seconds", "length_s", "clamped"),
    [(-9.0, 4.0, 0.0), (3e8, 4.0, 4.0), (3e8, None, 3e8), (2.0, 4.0, 2.0)],
)
def test_a_progress_bar_stays_within_its_length(
    seconds: float, length_s: float | None, clamped: float
) -> None:
    assert clamp(seconds, length_s) == clamped


@pytest.mark.parametrize("start_s", [0.0, 59.9999, 3599.5, 360_000.0])
def test_vtt_times_are_correct_beyond_minutes_and_hours(start_s: float) -> None:
    [(start, end, _)] = read_cues(formatted(Format.VTT, narration("x", start_s)))
    assert start == pytest.approx(start_s, abs=1e-3)
    assert end == pytest.approx(start_s + 1, abs=1e-3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0:00"),
        (9.99, "0:09"),
        (75.5, "1:15"),
        (3661, "1:01:01"),
        (-75.5, "-1:15"),
        (-3661, "-1:01:01"),
        (-0.5, "0:00"),
    ],
)
def test_the_clock_reads_like_a_media_player(seconds: float, text: str) -> None:
    assert format_clock(seconds) == text
