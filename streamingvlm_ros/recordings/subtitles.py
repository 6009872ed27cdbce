"""Cues of WebVTT and SRT files.

pysubs2 reads times and turns markup into plain text. The rest is done here, as pysubs2 drops
identifiers, settings, notes, styles and regions, and takes some of them for text.
"""

from __future__ import annotations

import html
import re

import pysubs2
from pysubs2.formats.subrip import SubripFormat
from pysubs2.formats.webvtt import WebVTTFormat

from .annotations import Annotation

SUBTITLES = (".vtt", ".srt")

_STAMP = {".vtt": WebVTTFormat.TIMESTAMP, ".srt": SubripFormat.TIMESTAMP}
_OVERRIDE = re.compile(r"\{(?:\\[^{}]*|/?[bius])\}")
"""Markup in braces of SRT: a position such as {\\an8}, or a style such as {b}."""
_SPECIAL = {ord(char): chr(0x10FF00 + n) for n, char in enumerate("{}\\")}
"""Private characters in place of those that pysubs2 takes for its own markup."""
_LITERAL = {ord(private): chr(char) for char, private in _SPECIAL.items()}
_COUNTER = re.compile(r"\s*\d+\s*")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def split_lines(text: str) -> list[str]:
    """Return the lines with their ends. Unlike with str.splitlines, U+2028 is text."""
    return _LINE.findall(text)


def annotated_spans(lines: list[str], suffix: str) -> list[tuple[int, int]]:
    """Return the cues as spans of lines [begin, end), identifiers included."""
    timings = [n for n, line in enumerate(lines) if _is_timing(line, suffix)]
    begins, previous = list[int](), -1
    for timing in timings:
        begins.append(timing - _has_id(lines, timing, suffix=suffix, previous_timing=previous))
        previous = timing
    spans = []
    for begin, timing, limit in zip(begins, timings, [*begins, len(lines)][1:], strict=True):
        spans.append((begin, _end(lines, timing, suffix=suffix, limit=limit)))
    return spans


def parse_cue(source: str, suffix: str, *, line: int = 0, before: str = "") -> Annotation:
    """Return a cue. ValueError if `source` isn't one."""
    first, *others = [text.rstrip("\r\n") for text in split_lines(source)]
    cue_id = ""
    if not _is_timing(first, suffix):
        cue_id, first, *others = first, *(others or [""])
    stamps = list(_STAMP[suffix].finditer(first))
    if len(stamps) != 2:
        raise ValueError(f"line {line}: it must have two times, not {first!r}")
    start_s, end_s, text = _plain(first, "\n".join(others), suffix=suffix)
    return Annotation(
        {"start_s": start_s, "end_s": end_s, "text": text},
        cue_id=cue_id,
        settings=first[stamps[1].end() :].strip(),
        markup="\n".join(others),
        before=before,
        source=source,
        line=line,
    )


def cue_text(annotation: Annotation, suffix: str, *, number: int) -> str:
    """Return an annotation as a cue, without the line end.

    A corrected text is written in place of the text. Markup is written if its text is unchanged.
    `number` is the counter for an SRT cue that has none.
    """
    start_s, end_s = annotation.time_field("start_s"), annotation.time_field("end_s")
    text = annotation.text_field("corrected" if annotation.fields.get("corrected") else "text")
    timing = f"{_stamp(start_s, suffix)} --> {_stamp(end_s, suffix)}"
    if _plain(timing, annotation.markup, suffix=suffix)[2] != text or not annotation.markup:
        text = " ".join(text.split())
        markup = html.escape(text, quote=False) if suffix == ".vtt" else text
    else:
        markup = annotation.markup
    cue_id = annotation.cue_id or (str(number) if suffix == ".srt" else "")
    lines = [cue_id, f"{timing} {annotation.settings}".rstrip(), markup]
    return "\n".join(line for line in lines if line)


def _is_timing(line: str, suffix: str) -> bool:
    stamps = len(_STAMP[suffix].findall(line))
    return stamps == 2 and (suffix == ".srt" or "-->" in line)


def _has_id(lines: list[str], timing: int, *, suffix: str, previous_timing: int) -> bool:
    """Return True if the line before a timing is an identifier, not another cue's text."""
    above = lines[timing - 1] if timing > previous_timing + 1 else ""
    if suffix == ".srt":
        return _COUNTER.fullmatch(above) is not None
    if not above.strip("\r\n") or (timing == 1 and above.startswith("WEBVTT")):
        return False
    in_cue = previous_timing >= 0 and all(
        line.strip("\r\n") for line in lines[previous_timing:timing]
    )
    return not in_cue or _COUNTER.fullmatch(above) is not None


def _end(lines: list[str], timing: int, *, suffix: str, limit: int) -> int:
    """Return the line after a cue. A blank line ends a WebVTT cue, only the next cue an SRT one."""
    if suffix == ".vtt":
        end = timing + 1
        while end < limit and lines[end].strip("\r\n"):
            end += 1
        return end
    end = limit
    while end > timing + 1 and not lines[end - 1].strip():
        end -= 1
    return end


def _plain(timing: str, markup: str, *, suffix: str) -> tuple[float, float, str]:
    """Return beginning and end in seconds, and the text without markup in one line."""
    if suffix == ".srt":
        markup = _OVERRIDE.sub("", markup)
    # pysubs2 takes a number in the last line for the next cue's counter, so one is added.
    cue = f"{timing}\n{markup.strip().translate(_SPECIAL)}\n\n0"
    events = pysubs2.SSAFile.from_string(cue, format_=suffix.removeprefix("."))
    text = "\n".join(event.plaintext for event in events).replace("\n", " ").translate(_LITERAL)
    # WebVTT writes & and < as entities.
    text = html.unescape(text) if suffix == ".vtt" else text
    return events[0].start / 1000, events[0].end / 1000, text


def _stamp(time_s: float, suffix: str) -> str:
    minutes, millis = divmod(round(max(0.0, time_s) * 1000), 60_000)
    point = "." if suffix == ".vtt" else ","
    return f"{minutes // 60:02}:{minutes % 60:02}:{millis // 1000:02}{point}{millis % 1000:03}"
