"""What is said and what is asked, as files have it: JSON lines, WebVTT, SRT, a narration topic."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pysubs2

from ..errors import WordsError
from ..types import NS_PER_S, Narration
from .bag_recording import RecordedAnswer
from .timed import LETTERS, TimedQuestion, Utterance

T = TypeVar("T")

SUBTITLES = (".vtt", ".srt")
ENCODING = "utf-8-sig"
"""UTF-8, with or without a byte order mark."""

_END_S = 2**63 / NS_PER_S
"""The first second that is too late for a stamp."""

_SHOWN = 60
"""Signs of a wrong value that an error shows."""


def read_utterances(path: Path, start_ns: int | None = None) -> list[Utterance]:
    """Utterances of a .jsonl, .vtt or .srt file, by time. WordsError if it can't be read.

    JSON lines have `start_s`, `end_s` and `text`, as `streamingvlm replay` writes them; a
    `corrected` text goes before `text`, unless it is empty, as in all lines of a kept clip that
    nobody has corrected: a space says that there should be silence. If `start_ns`, the camera's
    time of second 0, is given, `start_ns` and `end_ns` of a line, as a kept clip has them, go
    before its seconds.

    What subtitles leave out is in none of them: not known to be silent, so that an evaluation
    scores nothing there. Training learns it as silence, or nothing would teach when to be
    silent (`streamingvlm_training.datasets.cutting`).
    """
    if path.suffix in SUBTITLES:
        found = _subtitles(path)
    elif path.suffix == ".jsonl":
        found = _lines(path, lambda record: _utterance(record, start_ns))
    else:
        raise WordsError(f"{path} has no words to read: it must end in .jsonl, .vtt or .srt")
    return sorted(found, key=lambda utterance: utterance.start_s)


def utterances_of(narrations: Iterable[Narration], start_ns: int) -> list[Utterance]:
    """Return narrations as utterances; seconds count from `start_ns`."""
    return [
        Utterance(_since_s(its.start_ns, start_ns), _since_s(its.end_ns, start_ns), its.text)
        for its in narrations
    ]


def questions_of(answers: Iterable[RecordedAnswer], start_ns: int) -> list[TimedQuestion]:
    """Return answered questions; seconds count from `start_ns`."""
    return [
        TimedQuestion(_since_s(its.seen_until_ns, start_ns), its.question, its.answer)
        for its in answers
        if its.answer and not its.error
    ]


def read_questions(path: Path) -> list[TimedQuestion]:
    """Questions of a .jsonl file, by time. WordsError if it can't be read.

    Lines have `time_s`, `question` and `answer`; with `options`, at most 26, `answer` is a letter.
    """
    return sorted(_lines(path, _question), key=lambda question: question.time_s)


def as_time(value: Any, kind: Callable[[Any], float] = float) -> float | None:
    """What JSON has as seconds, or with `int` as nanoseconds; None if no stamp could be there.

    JSON, as Python reads it, has NaN, Infinity and numbers without end.
    """
    try:
        time = kind(value)
        return time if abs(time) < _END_S * (NS_PER_S if kind is int else 1) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _lines(path: Path, made: Callable[[Any], T]) -> list[T]:
    # Not splitlines: U+2028 and its like are text in JSON.
    lines = _content(path).split("\n")
    return [_line(path, number, line, made) for number, line in enumerate(lines, 1) if line.strip()]


def _line(path: Path, number: int, line: str, made: Callable[[Any], T]) -> T:
    try:
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError(f"{_shown(record)} is no object")
        return made(record)
    except json.JSONDecodeError as error:
        why = f"no JSON at column {error.colno}: {error.msg}"
    except KeyError as error:
        why = f"`{error.args[0]}` is missing"
    except (ValueError, RecursionError) as error:
        why = str(error)
    raise WordsError(f"{path}, line {number}: {why}")


def _utterance(record: Any, start_ns: int | None) -> Utterance:
    text = _text(record, "corrected" if record.get("corrected") else "text")
    if start_ns is not None and "start_ns" in record:
        start_s, end_s = (
            (_number(record, name, int) - start_ns) / NS_PER_S for name in ("start_ns", "end_ns")
        )
    else:
        start_s, end_s = _number(record, "start_s"), _number(record, "end_s")
    return _spoken(start_s, end_s, text)


def _spoken(start_s: float, end_s: float, text: str) -> Utterance:
    if not start_s < end_s:
        raise ValueError(f"it ends at {end_s}, and does not begin before: {start_s}")
    return Utterance(start_s, end_s, text)


def _question(record: Any) -> TimedQuestion:
    options, answer = _options(record), _text(record, "answer")
    if options and answer not in tuple(LETTERS[: len(options)]):
        raise ValueError(f"answer {answer!r} is not the letter of one of {len(options)} options")
    return TimedQuestion(_number(record, "time_s"), _text(record, "question"), answer, options)


def _options(record: Any) -> tuple[str, ...]:
    given = record.get("options", [])
    if not isinstance(given, list) or len(given) > len(LETTERS):
        raise ValueError(f"`options` is no list of at most {len(LETTERS)}: {_shown(given)}")
    return tuple(_text({"options": its}, "options") for its in given)


def _text(record: Any, name: str) -> str:
    """A text, or a number as one."""
    value = record[name]
    if not isinstance(value, str | int | float):
        raise ValueError(f"`{name}` is no text: {_shown(value)}")
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"`{name}` holds half a character: {_shown(value)}") from error
    return str(value)


def _number(record: Any, name: str, kind: Callable[[Any], float] = float) -> float:
    time = as_time(record[name], kind)
    if time is None:
        raise ValueError(f"`{name}` is no time: {_shown(record[name])}")
    return time


def _shown(value: Any) -> str:
    """As the file has it, or its beginning."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _subtitles(path: Path) -> Iterable[Utterance]:
    text, kind = _content(path), None
    if path.suffix == ".vtt":
        text, kind = _cues(text), "vtt"
    # WebVTT writes & and < as entities.
    plain = html.unescape if kind else str
    try:
        return [
            _spoken(e.start / 1000, e.end / 1000, plain(e.plaintext).replace("\n", " "))
            for e in pysubs2.SSAFile.from_string(text, format_=kind)
        ]
    except (pysubs2.exceptions.Pysubs2Error, ValueError) as error:
        raise WordsError(f"{path} can't be read: {error}") from error


def _cues(vtt: str) -> str:
    """WebVTT without notes, styles, regions and the names of cues: pysubs2 takes them for text."""
    blocks = re.split(r"\n{2,}", vtt)
    cues = [
        found[0] for block in blocks if (found := re.search(r"^[^\n]*-->.*", block, re.M | re.S))
    ]
    return "\n\n".join(["WEBVTT", *cues])


def _content(path: Path) -> str:
    try:
        return path.read_text(ENCODING)
    except (OSError, UnicodeDecodeError) as error:
        raise WordsError(f"{path} can't be read: {error}") from error


def _since_s(stamp_ns: int, start_ns: int) -> float:
    return (stamp_ns - start_ns) / NS_PER_S
