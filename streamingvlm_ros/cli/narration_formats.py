"""Narrations as text, JSON lines or WebVTT. Times are seconds since it began."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TextIO

from ..time_format import format_clock
from ..types import NS_PER_S, Narration


class Format(str, Enum):
    """How narrations are written."""

    TEXT = "text"
    JSONL = "jsonl"
    VTT = "vtt"
    BAG = "bag"


@dataclass(frozen=True)
class Writer:
    """A sink that writes each narration as soon as it is made; for every format but bags.

    `start_ns` is when the recording begins. `file` None is the standard output of the moment, so
    that a progress bar that stands on the same terminal can lift the text above itself.
    """

    format: Format
    start_ns: int = 0
    file: TextIO | None = None

    def __post_init__(self) -> None:
        self._put(_HEADINGS[self.format])

    def __call__(self, narration: Narration) -> None:
        """Write one narration, if the format has something to write for it."""
        since = replace(
            narration,
            start_ns=narration.start_ns - self.start_ns,
            end_ns=narration.end_ns - self.start_ns,
        )
        self._put(_ENTRIES[self.format](since))

    def _put(self, text: str) -> None:
        if text:
            print(text, file=self.file, flush=True)


def _text(narration: Narration) -> str:
    """One line `[m:ss] what was said`; nothing for a silent round."""
    if narration.silent:
        return ""
    return f"[{format_clock(narration.start_ns / NS_PER_S)}] {_one_line(narration.text)}"


def _json_line(narration: Narration) -> str:
    """One JSON object; a silent round has an empty text."""
    record = {
        "start_s": narration.start_ns / NS_PER_S,
        "end_s": narration.end_ns / NS_PER_S,
        "text": narration.text,
        "frames": narration.frames,
        "tokens": narration.tokens,
    }
    return json.dumps(record, ensure_ascii=False)


def _cue(narration: Narration) -> str:
    """One WebVTT cue and the blank line that ends it; nothing for a silent round.

    WebVTT knows no time before 0: what ends before it, because a clock was set back, is left out.
    """
    if narration.silent or narration.end_ns <= 0:
        return ""
    start, end = _vtt_time(max(0, narration.start_ns)), _vtt_time(narration.end_ns)
    return f"{start} --> {end}\n{html.escape(_one_line(narration.text), quote=False)}\n"


def _vtt_time(stamp_ns: int) -> str:
    minutes, millis = divmod(stamp_ns // 1_000_000, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{millis // 1000:02}.{millis % 1000:03}"


def _one_line(text: str) -> str:
    """A line break inside a narration would end the line or the cue that holds it."""
    return " ".join(text.split())


_HEADINGS = {Format.TEXT: "", Format.JSONL: "", Format.VTT: "WEBVTT\n"}
_ENTRIES: dict[Format, Callable[[Narration], str]] = {
    Format.TEXT: _text,
    Format.JSONL: _json_line,
    Format.VTT: _cue,
}
