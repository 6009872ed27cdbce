"""Narrations as text, JSON lines or WebVTT. Times are seconds since the recording's start."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TextIO

from ..recordings import webvtt
from ..time_format import format_clock
from ..types import NS_PER_S, Narration

_NS_PER_MS = NS_PER_S // 1000


class Format(str, Enum):
    """Output format of narrations."""

    TEXT = "text"
    JSONL = "jsonl"
    VTT = "vtt"
    BAG = "bag"


@dataclass(frozen=True)
class Writer:
    """A sink that writes each narration at once, in every format but bags.

    `start_ns` is the recording's start. `file` None is the current standard output, which a
    progress bar may replace to keep text above itself.
    """

    format: Format
    start_ns: int = 0
    file: TextIO | None = None

    def __post_init__(self) -> None:
        self._write(_HEADERS[self.format])

    def __call__(self, narration: Narration) -> None:
        """Write one narration; text and WebVTT leave out silent rounds."""
        relative = replace(
            narration,
            start_ns=narration.start_ns - self.start_ns,
            end_ns=narration.end_ns - self.start_ns,
        )
        self._write(_ENTRIES[self.format](relative))

    def _write(self, text: str) -> None:
        if text:
            print(text, file=self.file, flush=True)


def _text(narration: Narration) -> str:
    """Return one line `[m:ss] text`; nothing for a silent round."""
    if narration.silent:
        return ""
    return f"[{format_clock(narration.start_ns / NS_PER_S)}] {_one_line(narration.text)}"


def _json_line(narration: Narration) -> str:
    """Return one JSON object; a silent round has an empty text."""
    record = {
        "start_s": narration.start_ns / NS_PER_S,
        "end_s": narration.end_ns / NS_PER_S,
        "text": narration.text,
        "frames": narration.frames,
        "tokens": narration.tokens,
    }
    return json.dumps(record, ensure_ascii=False)


def _cue(narration: Narration) -> str:
    """Return one WebVTT cue and a blank line; nothing for a silent round.

    WebVTT has no negative times. A narration that ends before 0 (a clock was set back) is left out.
    """
    if narration.silent or narration.end_ns <= 0:
        return ""
    start, end = (
        webvtt.stamp(max(0, stamp_ns) // _NS_PER_MS)
        for stamp_ns in (narration.start_ns, narration.end_ns)
    )
    return f"{start} --> {end}\n{webvtt.markup_of(narration.text)}\n"


def _one_line(text: str) -> str:
    """Join the lines of a narration: a line break would end its line."""
    return " ".join(text.split())


_HEADERS = {Format.TEXT: "", Format.JSONL: "", Format.VTT: webvtt.HEADER.removesuffix("\n")}
_ENTRIES: dict[Format, Callable[[Narration], str]] = {
    Format.TEXT: _text,
    Format.JSONL: _json_line,
    Format.VTT: _cue,
}
