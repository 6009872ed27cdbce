"""SRT by the customs of SubRip, which has no standard (docs/decisions/0078)."""

from __future__ import annotations

import re
from itertools import pairwise

from .cues import WHITE_SPACE, Cues, Timing, clock, one_line, timing_of

HEADER = ""
"""The beginning of a new file."""

_TIME = r"(?:([0-9]+):)?([0-9]{1,2}):([0-9]{1,2})(?:[.,]([0-9]+))?"
_SETTINGS = r"(?:[ \t]+[A-Za-z][A-Za-z0-9]*:[^ \t\r\n]+)*"
"""Coordinates such as X1:10, or WebVTT's settings, which converters leave."""
_TIMING = re.compile(rf"[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}({_SETTINGS})[ \t]*")
_BROKEN_TIMING = re.compile(r"[ \t]*-?[0-9]+[:;.,][-0-9:;., \t]*-+>[ \t]*-?[0-9]+[:;.,]")
"""Beginning of a line that was meant as times."""
_COUNTER = re.compile(r"[ \t]*[0-9]+[ \t]*")
_MARKUP = re.compile(
    r"\{(?:\\[^{}]*|/?[bius])\}"  # a position such as {\an8}, a style such as {b}
    r"|</?[ \t]*(?:b|i|u|s|font)(?:[ \t\r\n][^<>]*)?>",
    re.IGNORECASE,
)
_MARKUP_BEGIN = re.compile(rf"(?={_MARKUP.pattern})[<{{]", re.IGNORECASE)
_NO_MARKUP = r"{\}"
"""Markup without effect. Behind the first character of other markup it makes that words."""


def find_cues(lines: list[str]) -> Cues:
    """Return the cues of a file's lines. ValueError if there are none."""
    if lines and lines[0].startswith("WEBVTT"):
        raise ValueError("line 1: it begins with WEBVTT: give it a name that ends in .vtt")
    cues, headings = Cues(), _headings(lines)
    for (begin, timing), (limit, _) in pairwise([*headings, (len(lines), 0)]):
        if parse_timing(lines[timing].rstrip("\r\n")) is None:
            what = "has no times such as 00:00:01,000 --> 00:00:02,500: the cue is left out"
            cues.add_problem(timing, what, lines=lines)
        else:
            cues.spans.append((begin, _end(lines, timing, limit=limit)))
    if not cues.spans:
        nul = "; it has NUL characters: save it as UTF-8" if "\0" in "".join(lines) else ""
        raise ValueError(next(iter(cues.problems), f"line 1: there are no subtitles{nul}"))
    first_words = next((n for n in range(headings[0][0]) if not _is_blank(lines[n])), None)
    if first_words is not None:
        cues.add_problem(first_words, "belongs to no cue and is left out", lines=lines)
    return cues


def timing_index(lines: list[str]) -> int:
    """Return the index of the line of times in a cue's lines: the first, or below a counter."""
    return 1 if _COUNTER.fullmatch(lines[0]) else 0


def parse_timing(line: str) -> Timing | None:
    """Return the times of a line; None if they are invalid."""
    return timing_of(_TIMING.fullmatch(line))


def plain_text(markup: str) -> str:
    """Return the words of a cue's text, without markup."""
    return one_line(_MARKUP.sub("", markup))


def markup_of(text: str) -> str:
    """Return the cue's text for these words."""
    return _MARKUP_BEGIN.sub(lambda begin: begin[0] + _NO_MARKUP, one_line(text))


def heading(cue_id: str, number: int) -> str:
    """Return the line above the times: a counter."""
    return cue_id if _COUNTER.fullmatch(cue_id) else str(number)


def stamp(time_ms: int) -> str:
    """Return a time. ValueError if it is before 0."""
    return clock(time_ms, ",")


def _headings(lines: list[str]) -> list[tuple[int, int]]:
    """Return where each cue begins, and where its times are."""
    headings = list[tuple[int, int]]()
    previous, has_counters = -1, True
    for index, line in enumerate(lines):
        # A line of times right below another one is words: this is how they are written.
        if "->" not in line or (headings and index == previous + 1):
            continue
        above = lines[index - 1] if index > previous + 1 else ""
        counter = _COUNTER.fullmatch(above.rstrip("\r\n")) is not None
        meant_as_times = _BROKEN_TIMING.match(line) and (counter or _is_blank(above))
        if not meant_as_times and not parse_timing(line.rstrip("\r\n")):
            continue
        if not headings:
            has_counters = counter
        # Without counters, a number right below words is one of them.
        is_heading = counter and (has_counters or index < 2 or _is_blank(lines[index - 2]))
        headings.append((index - is_heading, index))
        previous = index
    return headings


def _end(lines: list[str], timing: int, *, limit: int) -> int:
    """Return the line after a cue. Only the next cue ends it: its text may have blank lines."""
    end = limit
    while end > timing + 1 and _is_blank(lines[end - 1]):
        end -= 1
    return end


def _is_blank(line: str) -> bool:
    return not line.strip(WHITE_SPACE)
