"""What is said and what is asked, as files have it: JSON lines, WebVTT, SRT, a narration topic."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pysubs2

from ..bags.messages import Decoder, stamp_ns
from ..bags.reader import BagReader
from ..bags.recorded import ANSWER, NARRATION
from ..errors import WordsError
from ..types import NS_PER_S
from .timed import TimedQuestion, Utterance

T = TypeVar("T")

SUBTITLES = (".vtt", ".srt")
ENCODING = "utf-8-sig"
"""UTF-8, with or without a byte order mark."""


def read_utterances(path: Path, start_ns: int | None = None) -> list[Utterance]:
    """Utterances of a .jsonl, .vtt or .srt file, by time. WordsError if it can't be read.

    JSON lines have `start_s`, `end_s` and `text`, as `streamingvlm replay` writes them; a
    `corrected` text goes before `text`. If `start_ns`, the camera's time of second 0, is given,
    `start_ns` and `end_ns` of a line, as a kept clip has them, go before its seconds. What
    subtitles leave out is not known, not silent.
    """
    if path.suffix in SUBTITLES:
        found = _subtitles(path)
    elif path.suffix == ".jsonl":
        found = _lines(path, lambda record: _utterance(record, start_ns))
    else:
        raise WordsError(f"{path} has no words to read: it must end in .jsonl, .vtt or .srt")
    return sorted(found, key=lambda utterance: utterance.start_s)


def read_topic(bag: BagReader, topic: str, start_ns: int) -> list[Utterance]:
    """What a narrator, or who knows better, published in a bag; seconds count from `start_ns`."""
    kinds = {its.name: its.type for its in bag.topics}
    if kinds.get(topic) != NARRATION:
        there = ", ".join(name for name, kind in kinds.items() if kind == NARRATION) or "none"
        raise WordsError(f"{bag.path} has no narration {topic}; its narrations: {there}")
    decoder = Decoder()
    narrations = [decoder.decode(recorded) for recorded in bag.messages([topic])]
    return [
        Utterance(_since(n.start, start_ns), _since(n.end, start_ns), n.text) for n in narrations
    ]


def read_answers(bag: BagReader, start_ns: int) -> list[TimedQuestion]:
    """What a narrator was asked and answered in a bag; seconds count from `start_ns`."""
    topics, decoder = [its.name for its in bag.topics if its.type == ANSWER], Decoder()
    answers = [decoder.decode(recorded) for recorded in bag.messages(topics)] if topics else []
    return [
        TimedQuestion(_since(its.seen_until, start_ns), its.question, its.answer)
        for its in answers
        if its.answer and not its.message
    ]


def read_questions(path: Path) -> list[TimedQuestion]:
    """Questions of a .jsonl file, by time. WordsError if it can't be read.

    Lines have `time_s`, `question` and `answer`; with `options`, a list, `answer` is a letter.
    """
    return sorted(_lines(path, _question), key=lambda question: question.time_s)


def _lines(path: Path, made: Callable[[Any], T]) -> list[T]:
    try:
        # Not splitlines: U+2028 and its like are text in JSON.
        lines = path.read_text(ENCODING).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise WordsError(f"{path} can't be read: {error}") from error
    return [_line(path, number, line, made) for number, line in enumerate(lines, 1) if line.strip()]


def _line(path: Path, number: int, line: str, made: Callable[[Any], T]) -> T:
    try:
        record = json.loads(line)
        if not isinstance(record, dict):
            raise TypeError(f"not an object but a {type(record).__name__}")
        return made(record)
    except (ValueError, KeyError, TypeError) as error:
        raise WordsError(f"{path}, line {number}: {error!r}") from error


def _utterance(record: Any, start_ns: int | None) -> Utterance:
    text = str(record.get("corrected") or record["text"])
    if start_ns is not None and "start_ns" in record:
        times_ns = int(record["start_ns"]), int(record["end_ns"])
        start_s, end_s = ((its - start_ns) / NS_PER_S for its in times_ns)
    else:
        start_s, end_s = float(record["start_s"]), float(record["end_s"])
    if not start_s < end_s:
        raise ValueError(f"it ends at {end_s}, and does not begin before: {start_s}")
    return Utterance(start_s, end_s, text)


def _question(record: Any) -> TimedQuestion:
    options = tuple(str(option) for option in record.get("options", ()))
    answer = str(record["answer"])
    if options and (len(answer) != 1 or not 0 <= ord(answer) - ord("A") < len(options)):
        raise ValueError(f"answer {answer!r} is not the letter of one of {len(options)} options")
    return TimedQuestion(float(record["time_s"]), str(record["question"]), answer, options)


def _subtitles(path: Path) -> Iterable[Utterance]:
    try:
        events = pysubs2.load(str(path), ENCODING)
    except (OSError, UnicodeDecodeError, pysubs2.exceptions.Pysubs2Error, ValueError) as error:
        raise WordsError(f"{path} can't be read: {error}") from error
    # WebVTT writes & and < as entities.
    plain = html.unescape if path.suffix == ".vtt" else str
    return [
        Utterance(e.start / 1000, e.end / 1000, plain(e.plaintext).replace("\n", " "))
        for e in events
    ]


def _since(stamp: Any, start_ns: int) -> float:
    return (stamp_ns(stamp) - start_ns) / NS_PER_S
