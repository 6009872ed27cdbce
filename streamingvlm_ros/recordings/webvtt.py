"""WebVTT by the rules of its parser (https://www.w3.org/TR/webvtt1/, sections 6.1 to 6.4)."""

from __future__ import annotations

import html
import re

from .cues import ARROW, Cues, Timing, clock, one_line, quoted_line, timing_of

HEADER = "WEBVTT\n\n"
"""The beginning of a new file."""

_SIGNATURE = re.compile(r"WEBVTT(?:[ \t]|\Z)")
_TIME = r"(?:([0-9]+):)?([0-5][0-9]):([0-5][0-9])\.([0-9]{3})(?![0-9])"
_TIMING = re.compile(rf"[ \t\f]*{_TIME}[ \t\f]*{ARROW}[ \t\f]*{_TIME}([^\r\n]*)")
_TAG = re.compile(r"<[^>]*>?")
"""Tags of any name and times inside a cue. One without an end reaches to the end of the cue."""
_WITHOUT_WORDS = re.compile(r"(?:NOTE(?:[ \t].*)?|(?:STYLE|REGION)[ \t\f]*)\Z")
"""First line of a comment, a style sheet or a region."""


def find_cues(lines: list[str]) -> Cues:
    """Return the cues of a file's lines. ValueError if it isn't WebVTT."""
    first = lines[0].rstrip("\r\n") if lines else ""
    if not _SIGNATURE.match(first):
        raise ValueError(
            f"line 1: a .vtt file must begin with WEBVTT, not {quoted_line(first)}; give SubRip "
            "subtitles a name that ends in .srt"
        )
    cues, begin = Cues(), _end_of_text(lines, 1)
    while begin < len(lines):
        if _is_empty(lines[begin]):
            begin += 1
            continue
        begin = _add_block(cues, lines, begin=begin)
    return cues


def timing_index(lines: list[str]) -> int:
    """Return the index of the line of times in a cue's lines: the first, or below an identifier."""
    return 0 if ARROW in lines[0] else 1


def parse_timing(line: str) -> Timing | None:
    """Return the times of a line; None if they are invalid."""
    return timing_of(_TIMING.fullmatch(line))


def plain_text(markup: str) -> str:
    """Return the words of a cue's text: without tags, with characters in place of references."""
    return one_line("".join(map(html.unescape, _TAG.split(markup))))


def markup_of(text: str) -> str:
    """Return the cue's text for these words."""
    return html.escape(one_line(text), quote=False)


def heading(cue_id: str, number: int) -> str:
    """Return the line above the times; '' for none."""
    return cue_id


def stamp(time_ms: int) -> str:
    """Return a time. ValueError if it is before 0."""
    return clock(time_ms, ".")


def _add_block(cues: Cues, lines: list[str], *, begin: int) -> int:
    """Add the block of lines that begins here, and return where it ends."""
    arrow = next((n for n in (begin, begin + 1) if n < len(lines) and ARROW in lines[n]), None)
    if arrow is None:
        end = _end_of_text(lines, begin + 1)
        if not _WITHOUT_WORDS.match(lines[begin].rstrip("\r\n")):
            cues.add_problem(begin, "belongs to no cue and is left out", lines=lines)
        return end
    end = _end_of_text(lines, arrow + 1)
    if parse_timing(lines[arrow].rstrip("\r\n")) is None:
        what = "has no times such as 00:00:01.000 --> 00:00:02.500: the cue is left out"
        cues.add_problem(arrow, what, lines=lines)
        return end
    cues.spans.append((begin, end))
    if any(tag[-1] != ">" for tag in _TAG.findall("".join(lines[arrow + 1 : end]))):
        what = "has words behind a < without >, which are left out: write &lt; if it is no tag"
        cues.add_problem(arrow, what, lines=lines)
    return end


def _end_of_text(lines: list[str], begin: int) -> int:
    """Return the end of a text: an empty line, or one with an arrow, which begins a cue."""
    end = begin
    while end < len(lines) and not _is_empty(lines[end]) and ARROW not in lines[end]:
        end += 1
    return end


def _is_empty(line: str) -> bool:
    return not line.strip("\r\n")
