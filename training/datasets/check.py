"""Checks of training clips, without a GPU and without decoding all images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.recordings.recording import open_recording
from streamingvlm_ros.recordings.skipping import skip_reason
from streamingvlm_ros.types import Chunk

from .cutting import AnnotatedRecording, unused_questions, words_after_end
from .image_times import ROUNDING_S, ImageTimes, image_times
from .record import ClipRecord, Word, frames_of

Finding = tuple[str, str]
"""The kind of a problem, and its description."""
UNREADABLE = "unreadable"
_CLOCKS = "labels and images may have different clocks"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to look at. A clip that is not `usable` is left out of the training.

    Problems of one `kind` and `recording` are alike; their descriptions differ in numbers.
    """

    kind: str
    recording: str
    origin: str
    what: str
    usable: bool


class Checker:
    """Checks clips for a model that sees them at these frame settings."""

    def __init__(self, frames: FrameConfig) -> None:
        self._frames = frames
        self._images: dict[tuple[Path, str | None, bool], tuple[ImageTimes | None, str]] = {}

    def problems(self, clip: ClipRecord) -> Iterator[Problem]:
        """Yield the problems of a clip."""
        path = str(clip.recording)
        images, why = self._images_of(clip.recording, clip.camera, hold=clip.hold)
        if images is None:
            yield Problem(UNREADABLE, path, clip.origin, why, usable=False)
            return
        for kind, what in (*self._rate(images), *self._words(clip), *_times(clip, images)):
            yield Problem(kind, path, clip.origin, what, usable=True)
        # As in the live node, a chunk with a single frame is a round.
        if clip.end_s - self._frames.chunk_seconds > images.end_s + ROUNDING_S:
            rounds = self._frames.whole_chunks(images.end_s - clip.start_s) + 1
            what = f"ends at {clip.end_s:g} s, its images at {images.end_s:.2f} s: it would be cut"
            yield Problem("cut", path, clip.origin, what, usable=rounds >= 2)
        elif self._frames.whole_chunks(clip.duration_s) < 2:
            what = f"is {clip.duration_s:g} s long: less than two rounds"
            yield Problem("too short", path, clip.origin, what, usable=False)

    def recording_problems(self, annotated: AnnotatedRecording, clips: int) -> Iterator[Problem]:
        """Yield the problems of a recording's words. `clips` is the number of its clips."""
        path = annotated.path
        if annotated.images:
            self._images[path, annotated.camera, True] = annotated.images, ""
        images, why = self._images_of(path, annotated.camera, hold=True)
        if images is None:
            yield Problem(UNREADABLE, str(path), str(path), why, usable=False)
            return
        spoken = [utterance for utterance in annotated.utterances if utterance.text.strip()]
        if spoken and not clips:
            begin_s, end_s = min(u.start_s for u in spoken), max(u.end_s for u in spoken)
            what = (
                f"gives no clip: it has words from {begin_s:.2f} to {end_s:.2f} s, images from "
                f"{images.begin_s:.2f} to {images.end_s:.2f} s"
            )
            yield Problem("no clip", str(path), str(path), what, usable=False)
        findings: list[Finding] = [("label file", what) for what in annotated.label_problems]
        findings += [*_set_back(images), *_disordered(annotated.words)]
        if annotated.by_hand:
            findings += _early(spoken, images)
        findings += _offset_narrations(annotated, images)
        findings += [
            ("words after the end", what) for what in words_after_end(annotated, self._frames)
        ]
        findings += [
            ("questions left out", what) for what in unused_questions(annotated, self._frames)
        ]
        for kind, what in findings:
            yield Problem(kind, str(path), str(path), what, usable=True)

    def _rate(self, images: ImageTimes) -> Iterator[Finding]:
        """Yield a finding if the camera has less than half of the model's frame rate."""
        if images.filmed_s > 2 / self._frames.fps + ROUNDING_S:
            yield (
                "frame rate",
                f"filmed at {1 / images.filmed_s:.3g} frames per second, but streaming says fps: "
                f"{self._frames.fps:g}",
            )

    def _words(self, clip: ClipRecord) -> Iterator[Finding]:
        yield from _disordered(clip.words)
        # Words belong to the clip in which they end, so a slow one may begin before it.
        early = min((word.end_s for word in clip.words), default=clip.start_s)
        if early < clip.start_s - 1 / self._frames.fps:
            yield (
                "words before the images",
                f"a word ends at {early:g} s, {clip.start_s - early:.2f} s before the clip's "
                f"images: {_CLOCKS}",
            )
        rounds = self._frames.whole_chunks(clip.duration_s)
        rounds_end_s = clip.start_s + rounds * self._frames.chunk_seconds
        late = [word.text for word in clip.words if word.end_s > rounds_end_s + ROUNDING_S]
        if late:
            yield (
                "words after the last round",
                f"{len(late)} words end after its last whole round, at {rounds_end_s:g} s, and are "
                f"not learnt: {' '.join(late[:5])}",
            )

    def _images_of(
        self, path: Path, camera: str | None, *, hold: bool
    ) -> tuple[ImageTimes | None, str]:
        """Return the times of a recording's images, or the reason why it can't be used."""
        if (path, camera, hold) not in self._images:
            frames = frames_of(self._frames, hold=hold)
            self._images[path, camera, hold] = self._read_times(path, camera, frames=frames)
        return self._images[path, camera, hold]

    def _read_times(
        self, path: Path, camera: str | None, *, frames: FrameConfig
    ) -> tuple[ImageTimes | None, str]:
        try:
            if path.is_file() and not path.stat().st_size:
                return None, f"{path} is empty (0 bytes)"
            with open_recording(path, camera) as recording:
                chunks = recording.chunks(frames)
                if not any(isinstance(event, Chunk) for event in chunks):
                    return None, f"{path} has no chunk of frames"
                return image_times(recording, frames), ""
        except Exception as error:  # readers may raise anything
            return None, skip_reason(error)


def _disordered(words: Sequence[Word]) -> Iterator[Finding]:
    if any(later.end_s < earlier.end_s for earlier, later in pairwise(words)):
        yield "words out of order", "its words are out of order: they are sorted by their ends"


def _set_back(images: ImageTimes) -> Iterator[Finding]:
    if images.back_ns is not None:
        yield (
            "clock set back",
            f"time goes back at {images.end_s:.2f} s: nothing after it is learnt, and label "
            "files must not cover it",
        )


def _times(clip: ClipRecord, images: ImageTimes) -> Iterator[Finding]:
    """Yield findings about words that are more than a frame away from every image."""
    if images.late_s > images.frame_s:
        yield (
            "late first image",
            f"the first image or sound of {clip.recording} is at {images.late_s:.2f} s of the "
            "file, and seconds count from it, as in players: words timed by the file's clock come "
            "that much too late",
        )
    distances = [(images.away_s(word.start_s, word.end_s), word) for word in clip.words]
    limit_s = images.frame_s + ROUNDING_S
    alone = [(away_s, word) for away_s, word in distances if away_s > limit_s]
    if alone:
        away_s, word = max(alone, key=itemgetter(0))
        yield (
            "words without images",
            f"words without images: {len(alone)}; {word.text} at {word.start_s:g} s is "
            f"{away_s:.2f} s from the nearest one",
        )


def _early(spoken: Sequence[Utterance], images: ImageTimes) -> Iterator[Finding]:
    """Yield a finding if utterances written by hand end before the first image."""
    limit_s = images.begin_s - images.frame_s
    ends_s = [utterance.end_s for utterance in spoken if utterance.end_s < limit_s]
    if ends_s:
        yield (
            "words before the images",
            f"{len(ends_s)} of its utterances end up to {images.begin_s - min(ends_s):.2f} s "
            f"before its images: {_CLOCKS}",
        )


def _offset_narrations(annotated: AnnotatedRecording, images: ImageTimes) -> Iterator[Finding]:
    far_s = [away_s for away_s in annotated.narration_offsets_s if away_s > images.frame_s]
    if far_s:
        yield (
            "narrations of other times",
            f"{len(far_s)} of its narrations are about times up to {max(far_s):.2f} s away from "
            f"their images' stamps: {_CLOCKS}",
        )
