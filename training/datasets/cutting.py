"""Recordings with their words, cut into short clips that overlap (arXiv 2510.09608, 3.3)."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

from streamingvlm_ros.config import FrameConfig, Settings, WindowConfig
from streamingvlm_ros.errors import BagError, ConfigError, DataError
from streamingvlm_ros.recordings.annotation_files import read_utterances
from streamingvlm_ros.recordings.annotations import Utterance, utterances_of
from streamingvlm_ros.recordings.bag_recording import until_jump_back
from streamingvlm_ros.recordings.folder import (
    annotations_beside,
    name_of,
    questions_beside,
    unread_labels,
)
from streamingvlm_ros.recordings.questions import TimedQuestion, questions_of, read_questions
from streamingvlm_ros.recordings.recording import Recording, is_bag
from streamingvlm_ros.recordings.subtitles import SUBTITLES
from streamingvlm_ros.setting import setting, settings_group
from streamingvlm_ros.types import NS_PER_S, Narration

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


@dataclass(frozen=True, kw_only=True)
class AnnotatedRecording:
    """A recording with its narration and its questions.

    With `gaps_are_silence`, time that no utterance covers is learnt as silence. This holds for
    subtitles, which never say when nobody speaks. An evaluation scores nothing there, as the
    author may have left something out. `by_hand` is true for a file beside the recording.
    `label_problems` names what was left out or changed on reading that file.
    `duration_s` is None if the recording doesn't know it. `images` is None if nobody has read
    their times; `load_annotated` reads those of bags. `narration_offsets_s` says how far each
    narration of a bag is from the newest image that it is about; empty if the words are by hand.
    """

    path: Path
    camera: str | None = None
    duration_s: float | None
    utterances: Sequence[Utterance]
    questions: Sequence[TimedQuestion] = ()
    gaps_are_silence: bool = False
    by_hand: bool = False
    label_problems: Sequence[str] = ()
    images: ImageTimes | None = None
    narration_offsets_s: Sequence[float] = ()

    @property
    def words(self) -> list[Word]:
        """All words, utterance after utterance."""
        return [word for utterance in self.utterances for word in _words(utterance)]


class CutRecording(list[ClipRecord]):
    """The clips of a recording, and the recording that they were cut from."""

    def __init__(self, annotated: AnnotatedRecording, clips: Iterable[ClipRecord]) -> None:
        super().__init__(clips)
        self.annotated = annotated


def load_annotated(recording: Recording, frames: FrameConfig) -> AnnotatedRecording:
    """Read a recording's words: those of the file beside it, or a bag's only narration.

    If the clock of a bag was set back, only what came before is read. DataError if there are no
    words.
    """
    path, start_ns = recording.path, recording.start_ns(frames)
    # A bag's own duration is by the recorder's clock, which differs in a simulation.
    images = image_times(recording, frames) if is_bag(path) else None
    words_file, questions_file = annotations_beside(path), questions_beside(path)
    label_problems = list[str]()
    if words_file:
        utterances = read_utterances(
            words_file,
            start_ns if is_bag(path) else None,
            chunk_s=frames.chunk_seconds,
            report=label_problems.append,
        )
    elif images:
        utterances = _narrated(recording, images, frames=frames)
    else:
        raise DataError(
            f"{path} has no labels: put {name_of(path)}.jsonl, .vtt or .srt beside it"
            + unread_labels(path)
        )
    # The words in a saved clip are from a narrator that may have seen more than was saved.
    by_hand = words_file is not None and words_file.parent != path
    back_ns = images.back_ns if images else None
    return AnnotatedRecording(
        path=path,
        camera=recording.camera,
        duration_s=images.end_s if images else recording.duration_s,
        utterances=utterances,
        questions=(
            read_questions(questions_file)
            if questions_file
            else _answered(recording, start_ns, back_ns=back_ns)
        ),
        gaps_are_silence=words_file is not None and words_file.suffix.lower() in SUBTITLES,
        by_hand=by_hand,
        label_problems=[f"{words_file}, {problem}" for problem in label_problems],
        images=images,
        narration_offsets_s=() if by_hand else _narration_offsets_s(recording),
    )


def cut(
    annotated: AnnotatedRecording, config: CutConfig, *, settings: Settings
) -> Iterator[ClipRecord]:
    """Yield clips of all time for which the narration is known, in order.

    Clips begin and end at whole chunks, none after the end of the recording, and have the words
    that end in them. The first clip of the stream has the instruction, each later one the words
    before it. A question comes at the end of a clip of its own, which is otherwise like the
    others.

    Raises:
        ConfigError: `config` allows no clip of whole chunks.
    """
    frames = settings.frames
    length, step = _chunk_counts(config, frames)
    words = sorted(annotated.words, key=_end_s)
    for begin, end in _known_stretches(annotated, frames):
        for start, stop in _clip_spans(begin, end, length=length, step=step):
            yield _record(annotated, words, start=start, end=stop, settings=settings)
        for question in annotated.questions:
            if _is_usable(question, frames, begin=begin, end=end):
                stop = frames.whole_chunks(question.time_s)
                start = max(begin, stop - length)
                exchange = Exchange(question.time_s, question.question, question.answer)
                clip = _record(annotated, words, start=start, end=stop, settings=settings)
                yield replace(clip, asked=(exchange,))


def words_after_end(annotated: AnnotatedRecording, frames: FrameConfig) -> Iterator[str]:
    """Yield a finding if words end after the last chunk: the recording is too short for them."""
    last = _last_chunk(annotated, frames)
    if last is None:
        return
    ends_s = [utterance.end_s for utterance in annotated.utterances if utterance.text.strip()]
    late_s = [end_s for end_s in ends_s if frames.whole_chunks(end_s) > last]
    if late_s:
        away_s = max(late_s) - last * frames.chunk_seconds
        yield (
            f"{len(late_s)} of its utterances end up to {away_s:.2f} s after it and are incomplete "
            "in its clips"
        )


def unused_questions(annotated: AnnotatedRecording, frames: FrameConfig) -> Iterator[str]:
    """Yield a finding if questions are in no clip: how many, and why."""
    stretches = list(_known_stretches(annotated, frames))
    reasons = Counter(
        _unused_reason(question, stretches, frames=frames)
        for question in annotated.questions
        if not any(_is_usable(question, frames, begin=begin, end=end) for begin, end in stretches)
    )
    if reasons:
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        yield f"{reasons.total()} of its questions are not learnt: {counts}"


def _is_usable(question: TimedQuestion, frames: FrameConfig, *, begin: int, end: int) -> bool:
    """Return True if two rounds of this stretch of chunks come before the question."""
    return not question.options and begin + 2 <= frames.whole_chunks(question.time_s) <= end


def _unused_reason(
    question: TimedQuestion, stretches: Sequence[tuple[int, int]], *, frames: FrameConfig
) -> str:
    if question.options:
        return "with options"
    if stretches and all(frames.whole_chunks(question.time_s) > end for _, end in stretches):
        return "after the last words or images"
    return "without two rounds of known words right before"


def _chunk_counts(config: CutConfig, frames: FrameConfig) -> tuple[int, int]:
    """Return the length of a clip and the step to the next one, in chunks."""
    length = frames.whole_chunks(config.clip_s)
    step = frames.whole_chunks(config.clip_s - config.overlap_s)
    if length < 2 or step < 1:
        raise ConfigError(
            f"clips of {config.clip_s} s that overlap by {config.overlap_s} s have less than two "
            f"rounds or don't advance by whole chunks of {frames.chunk_seconds} s"
        )
    return length, step


def _narrated(recording: Recording, images: ImageTimes, *, frames: FrameConfig) -> list[Utterance]:
    topics = recording.narration_topics
    if len(topics) != 1:
        problem = f"several narrations ({', '.join(topics)})" if topics else "no narration"
        raise DataError(
            f"{recording.path} has {problem}: put {name_of(recording.path)}.jsonl, .vtt or .srt "
            f"beside it{unread_labels(recording.path)}"
        )
    utterances = utterances_of(recording.narrations(topics[0]), recording.start_ns(frames))
    if images.back_ns is None:
        return utterances
    # The last narrations before the jump are recorded when images after it have come.
    return list(until_jump_back(utterances, lambda u: round(u.start_s * NS_PER_S), config=frames))


def _answered(recording: Recording, start_ns: int, *, back_ns: int | None) -> list[TimedQuestion]:
    # Answers about the same time are recorded in any order, so their own times don't help.
    answers = (
        answer for answer in recording.answers if back_ns is None or answer.recorded_ns < back_ns
    )
    return questions_of(answers, start_ns)


def _narration_offsets_s(recording: Recording) -> Sequence[float]:
    """Return the distance of each narration's time from the stamp of its newest image."""
    narrations: list[Narration] = []
    for topic in recording.narration_topics:
        with suppress(BagError):  # words are not taken from a damaged topic
            narrations += recording.narrations(topic)
    offsets_ns = (max(n.start_ns - n.newest_ns, n.newest_ns - n.end_ns, 0) for n in narrations)
    return [offset_ns / NS_PER_S for offset_ns in offsets_ns]


def _known_stretches(
    annotated: AnnotatedRecording, frames: FrameConfig
) -> Iterator[tuple[int, int]]:
    """Yield stretches of whole chunks whose narration, silence included, is known."""
    last = _last_chunk(annotated, frames)
    for begin_s, end_s in _known_seconds(annotated, frames):
        end = frames.whole_chunks(end_s)
        # The times of words may be wrong by hours.
        yield -frames.whole_chunks(-max(0.0, begin_s)), end if last is None else min(end, last)


def _last_chunk(annotated: AnnotatedRecording, frames: FrameConfig) -> int | None:
    """Return the number of chunks, the last perhaps incomplete; None if it isn't known."""
    return None if annotated.duration_s is None else -frames.whole_chunks(-annotated.duration_s)


def _known_seconds(
    annotated: AnnotatedRecording, frames: FrameConfig
) -> Iterator[tuple[float, float]]:
    utterances, duration_s = annotated.utterances, annotated.duration_s
    if annotated.gaps_are_silence:
        last_s = max((utterance.end_s for utterance in utterances), default=0.0)
        yield 0.0, last_s if duration_s is None else duration_s
        return
    if not utterances:
        return
    begin_s, end_s = utterances[0].start_s, utterances[0].end_s
    for utterance in utterances:
        # Utterances that were timed by hand leave shorter gaps between each other.
        if frames.whole_chunks(utterance.start_s - end_s) >= 1:
            yield begin_s, end_s
            begin_s = utterance.start_s
        end_s = max(end_s, utterance.end_s)
    yield begin_s, end_s


def _clip_spans(begin: int, end: int, *, length: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield the chunks at which clips begin and end. The last may have only two chunks."""
    for start in range(begin, end - 1, step):
        yield start, min(end, start + length)
        if start + length >= end:
            return


def _record(
    annotated: AnnotatedRecording,
    words: Sequence[Word],
    *,
    start: int,
    end: int,
    settings: Settings,
) -> ClipRecord:
    """Return the clip from chunk `start` to `end`. `words` are ordered by their ends."""
    # Words are rounded in the same way: multiples of decimal fractions are inexact.
    start_s, end_s = (round(n * settings.frames.chunk_seconds, 6) for n in (start, end))
    first, after = (bisect_right(words, time_s, key=_end_s) for time_s in (start_s, end_s))
    return ClipRecord(
        annotated.path,
        start_s,
        end_s,
        tuple(words[first:after]),
        previous=_previous(words, first, window=settings.window),
        instruction="" if start else settings.prompt.instruction,
        camera=annotated.camera,
        origin=f"{annotated.path}, {start_s:g} to {end_s:g} s",
    )


def _previous(words: Sequence[Word], count: int, *, window: WindowConfig) -> str:
    """Return those of the first `count` words that a window may hold, at a token or more each."""
    sink = min(count, window.text_sink)
    visible = [*words[:sink], *words[max(sink, count - window.text_window) : count]]
    return " ".join(word.text for word in visible)


def _words(utterance: Utterance) -> Iterator[Word]:
    """Yield the words of an utterance, spread evenly over its time: the last ends with it."""
    texts = utterance.text.split()
    length_s = utterance.end_s - utterance.start_s
    times_s = [utterance.start_s + length_s * n / len(texts) for n in range(len(texts))]
    for text, (start_s, end_s) in zip(texts, pairwise([*times_s, utterance.end_s]), strict=True):
        yield Word(round(start_s, 6), round(end_s, 6), text)
