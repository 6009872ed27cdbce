"""Recordings with their words, cut into short clips that overlap (arXiv 2510.09608, 3.3)."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.types import NARRATION_TYPE
from streamingvlm_ros.config import FrameConfig, Settings, WindowConfig
from streamingvlm_ros.errors import ConfigError, DataError
from streamingvlm_ros.recordings.bag_source import until_back
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
from streamingvlm_ros.setting import setting, settings_group
from streamingvlm_ros.types import NS_PER_S

from .image_times import ImageTimes, image_times
from .record import ClipRecord, Exchange, Word

_end_s = attrgetter("end_s")


@settings_group
class CutConfig:
    """Length and overlap of training clips. The defaults are the paper's."""

    clip_s: float = setting(24.0, "Length of a clip in seconds.", low=2.0, high=3600.0)
    overlap_s: float = setting(
        12.0, "Seconds that two successive clips share.", low=0.0, high=3600.0
    )

    def __post_init__(self) -> None:
        if self.overlap_s >= self.clip_s:
            raise ConfigError(
                f"overlap_s ({self.overlap_s}) must be less than clip_s ({self.clip_s})"
            )


@dataclass(frozen=True)
class Told:
    """A recording and what is known to be said in it.

    `unsaid_is_silent`: what subtitles leave out is learnt as silence, or nothing would teach when
    to be silent. An evaluation scores nothing there: who wrote them may have left something out.
    `duration_s` is None where the recording doesn't know it; `images` where nobody looked when
    there are some.
    """

    path: Path
    camera: str | None
    duration_s: float | None
    utterances: Sequence[Utterance]
    questions: Sequence[TimedQuestion]
    unsaid_is_silent: bool
    images: ImageTimes | None = None

    @property
    def words(self) -> list[Word]:
        """What is said, word by word, utterance after utterance."""
        return [word for utterance in self.utterances for word in _words(utterance)]


class CutRecording(list[ClipRecord]):
    """The clips of a recording, and what they were cut from."""

    def __init__(self, told: Told, clips: Iterable[ClipRecord]) -> None:
        super().__init__(clips)
        self.told = told


def told(path: Path, camera: str | None, frames: FrameConfig) -> Told:
    """What a recording shows, with the words beside it, or in a bag's only narration.

    Of a bag whose clock was set back, what is before that. DataError if there are no words.
    """
    with recording(path, camera, frames) as recorded:
        start_ns, duration_s = recorded.start_ns, recorded.duration_s
    # A bag's own length counts when messages came, which in a simulation is another clock.
    images = image_times(path, camera, frames) if is_bag(path) else None
    beside, asked = words_beside(path), questions_beside(path)
    if beside:
        utterances = read_utterances(beside, start_ns if is_bag(path) else None)
    elif images:
        utterances = _narrated(path, start_ns, images, frames)
    else:
        raise DataError(
            f"nothing is said in {path}: put {name_of(path)}.jsonl, .vtt or .srt beside it"
        )
    return Told(
        path,
        camera,
        images.end_s if images else duration_s,
        utterances,
        read_questions(asked) if asked else _answered(path, start_ns, images),
        beside is not None and beside.suffix in SUBTITLES,
        images,
    )


def cut(its: Told, config: CutConfig, settings: Settings) -> Iterator[ClipRecord]:
    """Clips of all that is known of a recording, in order.

    They begin and end at whole chunks, none after the recording has ended, and have the words that
    end in them. The stream's first clip has the instruction; every other one what was said before
    it. A question is asked at the end of a clip of its own, in which everything else is as it was.
    ConfigError if no clip of whole chunks can be as `config` says.
    """
    frames = settings.frames
    length, step = _whole(config, frames)
    words = sorted(its.words, key=_end_s)
    for begin, end in _known(its, frames):
        for start, until in _clips(begin, end, length, step):
            yield _record(its, words, start, until, settings)
        for question in its.questions:
            if _is_asked(question, begin, end, frames):
                asked = frames.whole_chunks(question.time_s)
                exchange = Exchange(question.time_s, question.question, question.answer)
                clip = _record(its, words, max(begin, asked - length), asked, settings)
                yield replace(clip, asked=(exchange,))


def unshown(its: Told, frames: FrameConfig) -> Iterator[str]:
    """Whether there are words so late that clips would be longer if the recording were."""
    last = _last(its, frames)
    if last is None:
        return
    ends_s = [utterance.end_s for utterance in its.utterances if utterance.text.strip()]
    late_s = [end_s for end_s in ends_s if frames.whole_chunks(end_s) > last]
    if late_s:
        away_s = max(late_s) - last * frames.chunk_seconds
        yield (
            f"{len(late_s)} of its utterances end up to {away_s:.2f} s after it, and are not whole "
            "in its clips"
        )


def unasked(its: Told, frames: FrameConfig) -> Iterator[str]:
    """How many of its questions are in no clip, and why."""
    known = list(_known(its, frames))
    whys = Counter(
        _why_not(question, known, frames)
        for question in its.questions
        if not any(_is_asked(question, begin, end, frames) for begin, end in known)
    )
    if whys:
        each = ", ".join(f"{count} {why}" for why, count in whys.items())
        yield f"{whys.total()} of its questions are not learnt: {each}"


def _is_asked(question: TimedQuestion, begin: int, end: int, frames: FrameConfig) -> bool:
    """Whether there are two rounds before it in this stretch of chunks."""
    return not question.options and begin + 2 <= frames.whole_chunks(question.time_s) <= end


def _why_not(question: TimedQuestion, known: Sequence[tuple[int, int]], frames: FrameConfig) -> str:
    if question.options:
        return "with options"
    if known and all(frames.whole_chunks(question.time_s) > end for _, end in known):
        return "after the last words or images"
    return "without two rounds of known words right before"


def _whole(config: CutConfig, frames: FrameConfig) -> tuple[int, int]:
    """Chunks of a clip, and from one clip's beginning to the next one's."""
    length = frames.whole_chunks(config.clip_s)
    step = frames.whole_chunks(config.clip_s - config.overlap_s)
    if length < 2 or step < 1:
        raise ConfigError(
            f"clips of {config.clip_s} s that share {config.overlap_s} s have less than two rounds "
            f"or never move on in whole chunks of {frames.chunk_seconds} s"
        )
    return length, step


def _narrated(
    path: Path, start_ns: int, images: ImageTimes, frames: FrameConfig
) -> list[Utterance]:
    with BagReader(path) as bag:
        topics = [topic.name for topic in bag.topics if topic.type == NARRATION_TYPE]
        if len(topics) != 1:
            there = ", ".join(topics) or "none"
            raise DataError(
                f"{path} has several narrations or none ({there}): put {name_of(path)}.jsonl, .vtt "
                "or .srt beside it"
            )
        narrated = read_topic(bag, topics[0], start_ns)
    if images.back_ns is None:
        return narrated
    # The last ones of the first time are recorded when images of the second are.
    return list(until_back(narrated, lambda its: round(its.start_s * NS_PER_S), frames))


def _answered(path: Path, start_ns: int, images: ImageTimes | None) -> list[TimedQuestion]:
    if not images:
        return []
    with BagReader(path) as bag:
        # Not until they jump back: those of one time come in any order.
        return read_answers(bag, start_ns, images.back_ns)


def _known(its: Told, frames: FrameConfig) -> Iterator[tuple[int, int]]:
    """Stretches of whole chunks in which what is said is known, silences included."""
    last = _last(its, frames)
    for begin_s, end_s in _stretches(its, frames):
        end = frames.whole_chunks(end_s)
        # Words may be timed wrongly, by hours.
        yield -frames.whole_chunks(-max(0.0, begin_s)), end if last is None else min(end, last)


def _last(its: Told, frames: FrameConfig) -> int | None:
    """Chunks until the recording ends, the last of them perhaps in part; None if not known."""
    return None if its.duration_s is None else -frames.whole_chunks(-its.duration_s)


def _stretches(its: Told, frames: FrameConfig) -> Iterator[tuple[float, float]]:
    if its.unsaid_is_silent:
        ends_s = [utterance.end_s for utterance in its.utterances]
        yield 0.0, max(ends_s, default=0.0) if its.duration_s is None else its.duration_s
        return
    if not its.utterances:
        return
    begin_s, end_s = its.utterances[0].start_s, its.utterances[0].end_s
    for utterance in its.utterances:
        # A shorter gap is how utterances that were timed by hand lie beside each other.
        if frames.whole_chunks(utterance.start_s - end_s) >= 1:
            yield begin_s, end_s
            begin_s = utterance.start_s
        end_s = max(end_s, utterance.end_s)
    yield begin_s, end_s


def _clips(begin: int, end: int, length: int, step: int) -> Iterator[tuple[int, int]]:
    """The last one as long as what is left, if that is two chunks."""
    for start in range(begin, end - 1, step):
        yield start, min(end, start + length)
        if start + length >= end:
            return


def _record(
    its: Told, words: Sequence[Word], start: int, end: int, settings: Settings
) -> ClipRecord:
    """The clip from chunk `start` to `end`, of words that are ordered by their ends."""
    # As words are timed: a multiple of a decimal fraction may lie beside the next one's place.
    start_s, end_s = (round(n * settings.frames.chunk_seconds, 6) for n in (start, end))
    first, after = (bisect_right(words, time_s, key=_end_s) for time_s in (start_s, end_s))
    return ClipRecord(
        its.path,
        start_s,
        end_s,
        tuple(words[first:after]),
        previous=_previous(words, first, settings.window),
        instruction="" if start else settings.prompt.instruction,
        camera=its.camera,
        origin=f"{its.path}, {start_s:g} to {end_s:g} s",
    )


def _previous(words: Sequence[Word], said: int, window: WindowConfig) -> str:
    """As much of the first `said` words as a window can hold: a word is a token at least."""
    sink = min(said, window.text_sink)
    kept = [*words[:sink], *words[max(sink, said - window.text_window) : said]]
    return " ".join(word.text for word in kept)


def _words(utterance: Utterance) -> Iterator[Word]:
    """Its words, spread evenly over its time: the last ends where it does."""
    texts = utterance.text.split()
    length_s = utterance.end_s - utterance.start_s
    times_s = [utterance.start_s + length_s * n / len(texts) for n in range(len(texts))]
    for text, (start_s, end_s) in zip(texts, pairwise([*times_s, utterance.end_s]), strict=True):
        yield Word(round(start_s, 6), round(end_s, 6), text)
