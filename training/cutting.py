"""Recordings with their words, cut into short clips that overlap (arXiv 2510.09608, 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.recorded import NARRATION
from streamingvlm_ros.config import FrameConfig, Settings, WindowConfig, check_ranges, setting
from streamingvlm_ros.errors import ConfigError, DataError
from streamingvlm_ros.recordings.folder import name_of, questions_beside, words_beside
from streamingvlm_ros.recordings.recording import is_bag, recording
from streamingvlm_ros.recordings.timed import TimedQuestion, Utterance
from streamingvlm_ros.recordings.words import (
    SUBTITLES,
    read_answers,
    read_questions,
    read_topic,
    read_utterances,
)

from .record import ClipRecord, Exchange, Word


@dataclass(frozen=True)
class CutConfig:
    """Length of clips and how much they have in common; the paper's are the defaults."""

    clip_s: float = setting(24.0, "Length of a clip.", low=2.0, high=3600.0)
    overlap_s: float = setting(12.0, "Seconds that two clips share.", low=0.0, high=3600.0)

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.overlap_s >= self.clip_s:
            raise ConfigError("overlap_s must be less than clip_s: clips would never move on")


@dataclass(frozen=True)
class Told:
    """A recording and what is known to be said in it. `unsaid_is_silent`: gaps are meant."""

    path: Path
    camera: str | None
    duration_s: float
    utterances: Sequence[Utterance]
    questions: Sequence[TimedQuestion]
    unsaid_is_silent: bool


def told(path: Path, camera: str | None, frames: FrameConfig) -> Told:
    """What a recording shows, with the words beside it, or in a bag's only narration.

    DataError if there are no words.
    """
    with recording(path, camera, frames) as recorded:
        start_ns, duration_s = recorded.start_ns, recorded.duration_s
    beside, asked = words_beside(path), questions_beside(path)
    if beside:
        utterances = read_utterances(beside, start_ns if is_bag(path) else None)
    elif is_bag(path):
        utterances = _narrated(path, start_ns)
    else:
        raise DataError(
            f"nothing is said in {path}: put {name_of(path)}.jsonl, .vtt or .srt beside it"
        )
    ends_s = [its.end_s for its in utterances]
    return Told(
        path,
        camera,
        duration_s if duration_s is not None else max(ends_s, default=0.0),
        utterances,
        read_questions(asked) if asked else _answered(path, start_ns),
        beside is not None and beside.suffix in SUBTITLES,
    )


def cut(its: Told, config: CutConfig, settings: Settings) -> Iterator[ClipRecord]:
    """Clips of all that is known of a recording, in order.

    They begin at whole chunks. The stream's first clip has the instruction; every other one what
    was said before it. A question is asked at the end of a clip of its own, in which everything
    else is as it was.
    """
    chunk_s = settings.frames.chunk_seconds
    for begin_s, end_s in _known(its, chunk_s):
        for start_s, until_s in _clips(begin_s, end_s, config, chunk_s):
            yield _record(its, start_s, until_s, settings)
        for question in its.questions:
            asked_s = question.time_s // chunk_s * chunk_s
            start_s = max(begin_s, asked_s - config.clip_s)
            if begin_s + 2 * chunk_s <= asked_s <= end_s and not question.options:
                exchange = Exchange(question.time_s, question.question, question.answer)
                clip = _record(its, start_s, asked_s, settings)
                yield replace(clip, asked=(exchange,))


def _narrated(path: Path, start_ns: int) -> list[Utterance]:
    with BagReader(path) as bag:
        topics = [topic.name for topic in bag.topics if topic.type == NARRATION]
        if len(topics) != 1:
            there = ", ".join(topics) or "none"
            raise DataError(
                f"{path} has several narrations or none ({there}): put {name_of(path)}.jsonl, .vtt "
                "or .srt beside it"
            )
        return read_topic(bag, topics[0], start_ns)


def _answered(path: Path, start_ns: int) -> list[TimedQuestion]:
    if not is_bag(path):
        return []
    with BagReader(path) as bag:
        return read_answers(bag, start_ns)


def _known(its: Told, chunk_s: float) -> Iterator[tuple[float, float]]:
    """Stretches of time in which what is said is known, silences included."""
    if its.unsaid_is_silent:
        yield 0.0, its.duration_s
        return
    spans = [(u.start_s, u.end_s) for u in its.utterances]
    if not spans:
        return
    begin_s = max(0.0, spans[0][0])
    # A gap of less than a chunk is how utterances that were timed by hand lie beside each other.
    for (_, end_s), (next_s, _) in pairwise(spans):
        if next_s - end_s >= chunk_s:
            yield begin_s, end_s
            begin_s = next_s
    yield begin_s, max(end_s for _, end_s in spans)


def _clips(
    begin_s: float, end_s: float, config: CutConfig, chunk_s: float
) -> Iterator[tuple[float, float]]:
    """From whole chunks to whole chunks, the last one as long as what is left, if that is two."""
    start_s = -(-begin_s // chunk_s) * chunk_s
    last_s = end_s // chunk_s * chunk_s
    while last_s - start_s >= 2 * chunk_s:
        until_s = min(last_s, start_s + config.clip_s // chunk_s * chunk_s)
        yield start_s, until_s
        if until_s >= last_s:
            return
        start_s += (config.clip_s - config.overlap_s) // chunk_s * chunk_s


def _record(its: Told, start_s: float, end_s: float, settings: Settings) -> ClipRecord:
    before = [u.text for u in its.utterances if u.end_s <= start_s and u.text]
    spoken = [u for u in its.utterances if start_s < u.end_s <= end_s and u.text]
    return ClipRecord(
        its.path,
        start_s,
        end_s,
        tuple(word for utterance in spoken for word in _words(utterance)),
        previous=_previous(before, settings.window),
        instruction="" if start_s else settings.prompt.instruction,
        camera=its.camera,
        origin=f"{its.path}, {start_s:g} to {end_s:g} s",
    )


def _previous(texts: Sequence[str], window: WindowConfig) -> str:
    """As much of what was said before as a window can hold: a word is a token at least."""
    words = " ".join(texts).split()
    left_out = max(0, len(words) - window.text_sink - window.text_window)
    return " ".join([*words[: window.text_sink], *words[window.text_sink + left_out :]])


def _words(utterance: Utterance) -> Iterator[Word]:
    """Its words, spread evenly over its time: the last ends where it does."""
    texts = utterance.text.split()
    length_s = utterance.end_s - utterance.start_s
    ends_s = [utterance.start_s + length_s * n / len(texts) for n in range(1, len(texts))]
    times_s = [utterance.start_s, *ends_s, utterance.end_s]
    for text, (start_s, end_s) in zip(texts, pairwise(times_s), strict=True):
        yield Word(round(start_s, 6), round(end_s, 6), text)
