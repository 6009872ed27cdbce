"""Cues of WebVTT and SRT files as annotations. A file's suffix decides by whose rules."""

from __future__ import annotations

from typing import Protocol

from . import subrip, webvtt
from .annotations import Annotation
from .cues import Cues, Timing, split_lines


class CueFormat(Protocol):
    """The rules of a format: a module of functions."""

    HEADER: str

    def find_cues(self, lines: list[str]) -> Cues:
        """Return where the cues are. ValueError if the file has another format."""

    def timing_index(self, lines: list[str]) -> int:
        """Return the index of the line of times in a cue's lines."""

    def parse_timing(self, line: str) -> Timing | None:
        """Return the times of a line; None if they are invalid."""

    def plain_text(self, markup: str) -> str:
        """Return the words of a cue's text, in one line."""

    def markup_of(self, text: str) -> str:
        """Return the cue's text for these words."""

    def heading(self, cue_id: str, number: int) -> str:
        """Return the line above the times, for an identifier or the cue's number."""

    def stamp(self, time_ms: int) -> str:
        """Return a time. ValueError if it is before 0."""


_FORMATS: dict[str, CueFormat] = {".vtt": webvtt, ".srt": subrip}
SUBTITLES = tuple(_FORMATS)


def find_cues(lines: list[str], suffix: str) -> Cues:
    """Return where the cues are. ValueError if the file has another format."""
    return _FORMATS[suffix].find_cues(lines)


def new_header(suffix: str) -> str:
    """Return the beginning of a new file."""
    return _FORMATS[suffix].HEADER


def parse_cue(source: str, suffix: str, *, line: int = 0, before: str = "") -> Annotation:
    """Return a cue. ValueError if `source` isn't one."""
    rules = _FORMATS[suffix]
    lines = [text.rstrip("\r\n") for text in split_lines(source)]
    index = rules.timing_index(lines)
    timing = rules.parse_timing(lines[index]) if index < len(lines) else None
    if timing is None:
        raise ValueError(f"line {line}: it must have two times, not {lines[0]!r}")
    markup = "\n".join(lines[index + 1 :])
    text = rules.plain_text(markup)
    return Annotation(
        {"start_s": timing.start_s, "end_s": timing.end_s, "text": text},
        cue_id=lines[0] if index else "",
        settings=timing.settings,
        markup=markup,
        before=before,
        source=source,
        line=line,
    )


def cue_text(annotation: Annotation, suffix: str, *, number: int) -> str:
    """Return an annotation as a cue, without the line end.

    A corrected text is written in place of the text. Markup is written if its text is unchanged.
    `number` is the counter for an SRT cue that has none. ValueError for a time before 0.
    """
    rules = _FORMATS[suffix]
    start_ms, end_ms = (round(annotation.time_field(name) * 1000) for name in ("start_s", "end_s"))
    text = annotation.text_field("corrected" if annotation.fields.get("corrected") else "text")
    heading = rules.heading(annotation.cue_id, number)
    timing = f"{rules.stamp(start_ms)} --> {rules.stamp(end_ms)}"
    # An annotation of another format may have settings or markup that this one doesn't know.
    with_settings = f"{timing} {annotation.settings}".rstrip()
    timing = with_settings if rules.parse_timing(with_settings) else timing
    spelled = _cue(heading, timing, annotation.markup)
    if rules.plain_text(annotation.markup) == text and _is_one_cue(spelled, rules):
        return spelled
    return _cue(heading, timing, rules.markup_of(text))


def _cue(*lines: str) -> str:
    return "\n".join(filter(None, lines))


def _is_one_cue(text: str, rules: CueFormat) -> bool:
    """Return True if a file with this text has one cue, which ends with it."""
    lines = split_lines(rules.HEADER + text)
    return [end for _, end in rules.find_cues(lines).spans] == [len(lines)]
