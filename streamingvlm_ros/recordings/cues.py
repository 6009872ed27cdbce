"""Lines, times and white space as WebVTT and SRT share them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .annotations import as_time

ARROW = "-->"
WHITE_SPACE = " \t\n\r\f"
"""ASCII white space, as both formats know it. No-break spaces and U+2028 are text."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_WHITE_SPACE = re.compile(f"[{WHITE_SPACE}]+")
_MAX_HOUR_DIGITS = 9
"""More digits than any time that a stamp can express."""
_QUOTED_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Timing:
    """A cue's line of times, with the settings or coordinates behind them."""

    start_s: float
    end_s: float
    settings: str


@dataclass(slots=True)
class Cues:
    """Where the cues of a file are.

    `spans` are ranges of lines [begin, end), identifiers included. `problems` names lines that
    look like words and belong to no cue.
    """

    spans: list[tuple[int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add_problem(self, index: int, what: str, *, lines: list[str]) -> None:
        """Add a problem of the line at `index`."""
        self.problems.append(f"line {index + 1}: {quoted_line(lines[index])} {what}")


def split_lines(text: str) -> list[str]:
    """Return the lines with their ends. Unlike with str.splitlines, U+2028 is text."""
    return _LINE.findall(text)


def one_line(text: str) -> str:
    """Return a cue's text: each run of white space is a space, none at the ends.

    Players collapse it likewise. NUL is U+FFFD, as in WebVTT.
    """
    return _WHITE_SPACE.sub(" ", text.replace("\0", "\ufffd")).strip(" ")


def timing_of(match: re.Match[str] | None) -> Timing | None:
    """Return the times of a line; None if it doesn't match, or if no stamp can express them.

    The groups are hours, minutes, seconds and fraction, twice, and the settings. Hours and fraction
    may be missing.
    """
    if not match:
        return None
    start_s, end_s = (
        _seconds(match[n] or "", match[n + 1], seconds=match[n + 2], fraction=match[n + 3] or "0")
        for n in (1, 5)
    )
    if start_s is None or end_s is None:
        return None
    return Timing(start_s, end_s, match[9].strip())


def clock(time_ms: int, point: str) -> str:
    """Return a time as HH:MM:SS, `point` and milliseconds. ValueError for a time before 0."""
    if time_ms < 0:
        raise ValueError(f"subtitles can't express a time before 0, such as {time_ms / 1000} s")
    seconds, millis = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{millis:03}"


def quoted_line(line: str) -> str:
    """Return a line in quotes, shortened for a message."""
    line = line.rstrip("\r\n")
    return repr(line if len(line) <= _QUOTED_CHARACTERS else f"{line[:_QUOTED_CHARACTERS]}…")


def _seconds(hours: str, minutes: str, *, seconds: str, fraction: str) -> float | None:
    """Return a time in seconds from its digits; None if no stamp can express it."""
    if len(hours.lstrip("0")) > _MAX_HOUR_DIGITS:
        return None
    whole_s = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return as_time(f"{whole_s}.{fraction}")
