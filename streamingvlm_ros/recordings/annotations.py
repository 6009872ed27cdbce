"""Annotations of a recording: reference narration, recorded narration and questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..types import NS_PER_S, Narration

_END_S = 2**63 / NS_PER_S
"""The first second that no stamp can express."""

_QUOTED_CHARACTERS = 60
"""Length to which an error message shortens a wrong value."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """The words of [start_s, end_s), in seconds since the recording began.

    An empty text is an intended silence. Time without an utterance is unlabelled.
    """

    start_s: float
    end_s: float
    text: str

    @property
    def middle_s(self) -> float:
        """Time half-way between beginning and end."""
        return (self.start_s + self.end_s) / 2


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line of JSON, or a cue of WebVTT or SRT, with everything that the file says about it.

    `fields` are those of the JSON object in their order. A cue has `start_s`, `end_s` and
    `text`, the last without markup. It also has its identifier (in SRT the counter), its
    settings (in SRT the coordinates), and its text with `markup` and line breaks. `before` is
    what separates it from the annotation before it: line ends, notes, regions.

    `source` is its spelling in the file, which is written back if nothing has changed. `line` is
    its line number, for messages.
    """

    fields: Mapping[str, Any]
    cue_id: str = ""
    settings: str = ""
    markup: str = ""
    before: str = ""
    source: str = field(default="", compare=False, repr=False)
    line: int = field(default=0, compare=False, repr=False)

    @classmethod
    def of(cls, utterance: Utterance) -> Annotation:
        """Return a new annotation with the times and text of an utterance."""
        return cls({"start_s": utterance.start_s, "end_s": utterance.end_s, "text": utterance.text})

    def with_fields(self, **changes: Any) -> Annotation:
        """Return this annotation with other values in some fields; new ones come last."""
        return replace(self, fields={**self.fields, **changes})

    def utterance(self, origin_ns: int | None = None) -> Utterance:
        """Return the text that is right, with its times.

        A `corrected` text takes precedence over `text` unless it is empty, as in uncorrected lines
        of a saved clip. A space is a correction to silence. If `origin_ns`, the camera's time of
        second 0, is given, `start_ns` and `end_ns` take precedence over the seconds.

        Raises:
            ValueError: a field is wrong.
            KeyError: a field is missing.
        """
        text = self.text_field("corrected" if self.fields.get("corrected") else "text")
        if origin_ns is not None and "start_ns" in self.fields:
            start_s, end_s = (
                (self.time_field(name, int) - origin_ns) / NS_PER_S
                for name in ("start_ns", "end_ns")
            )
        else:
            start_s, end_s = self.time_field("start_s"), self.time_field("end_s")
        if not start_s < end_s:
            raise ValueError(f"it must end after it begins at {start_s} s, not at {end_s} s")
        return Utterance(start_s, end_s, text)

    def text_field(self, name: str) -> str:
        """Return a field as text; numbers count as text. ValueError or KeyError if it isn't."""
        return as_text(self.fields[name], name)

    def time_field(self, name: str, kind: Callable[[Any], float] = float) -> float:
        """Return a field as a time (see `as_time`). ValueError or KeyError if it isn't one."""
        time = as_time(self.fields[name], kind)
        if time is None:
            raise ValueError(f"`{name}` must be a time, not {quoted(self.fields[name])}")
        return time


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """All contents of an annotation file, in order.

    `suffix` is its format: '.jsonl', '.vtt' or '.srt'. `header` comes before the first
    annotation, `footer` after the last; None for those of a new file. `problems` names lines
    that look like annotations and can't be read as such.
    """

    suffix: str
    annotations: tuple[Annotation, ...] = ()
    header: str | None = None
    footer: str | None = None
    problems: tuple[str, ...] = field(default=(), compare=False)


def utterances_of(narrations: Iterable[Narration], start_ns: int) -> list[Utterance]:
    """Return narrations as utterances; seconds count from `start_ns`."""
    return [
        Utterance((n.start_ns - start_ns) / NS_PER_S, (n.end_ns - start_ns) / NS_PER_S, n.text)
        for n in narrations
    ]


def as_text(value: Any, name: str) -> str:
    """Return a value that JSON has as text; ValueError, with the field's name, if it isn't."""
    if not isinstance(value, str | int | float):
        raise ValueError(f"`{name}` must be text, not {quoted(value)}")
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"`{name}` contains an unpaired surrogate: {quoted(value)}") from error
    return str(value)


def as_time(value: Any, kind: Callable[[Any], float] = float) -> float | None:
    """Return a JSON value in seconds, or with `int` in nanoseconds; None if it is no valid time.

    JSON, as Python reads it, has NaN, Infinity and numbers of any size.
    """
    try:
        time = kind(value)
        return time if abs(time) < _END_S * (NS_PER_S if kind is int else 1) else None
    except (TypeError, ValueError, OverflowError):
        return None


def quoted(value: Any) -> str:
    """Return a value as JSON has it, shortened for a message."""
    text = json.dumps(value)
    return text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}…"
