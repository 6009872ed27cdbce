"""What is wrong with a clip, found without a GPU and without decoding all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from streamingvlm_ros.bags.cdr import MessageDecoder, stamp_ns
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.types import NARRATION_TYPE
from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import StreamingVLMError
from streamingvlm_ros.recordings.folder import words_beside
from streamingvlm_ros.recordings.recording import recording
from streamingvlm_ros.recordings.timed import Utterance
from streamingvlm_ros.types import NS_PER_S, Chunk

from .cutting import Told, unasked, unshown
from .image_times import ROUNDING_S, ImageTimes, image_times
from .record import ClipRecord, Word

Finding = tuple[str, str]
"""A kind of problem, and what it is here."""
UNREADABLE = "unreadable"
_CLOCKS = "labels and images may have different clocks"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to look at. A clip that is not `usable` is left out of the training.

    Those of one `kind` and `recording` are alike, though numbers differ in `what` they say.
    """

    kind: str
    recording: str
    origin: str
    what: str
    usable: bool


class Checker:
    """Checks clips for the frames that a model will see of them."""

    def __init__(self, frames: FrameConfig) -> None:
        self._frames = frames
        self._images: dict[tuple[Path, str | None], tuple[ImageTimes | None, str]] = {}

    def problems(self, clip: ClipRecord) -> Iterator[Problem]:
        """What is wrong with it; nothing if nothing is."""
        path = str(clip.recording)
        images, why = self._seen(clip.recording, clip.camera)
        if images is None:
            yield Problem(UNREADABLE, path, clip.origin, why, usable=False)
            return
        for kind, what in (*self._rate(images), *self._words(clip), *_times(clip, images)):
            yield Problem(kind, path, clip.origin, what, usable=True)
        # A round is there if its chunk has a frame at all, as in the live node.
        if clip.end_s - self._frames.chunk_seconds > images.end_s + ROUNDING_S:
            rounds = self._frames.whole_chunks(images.end_s - clip.start_s) + 1
            what = f"ends at {clip.end_s:g} s, its images at {images.end_s:.2f} s: it would be cut"
            yield Problem("cut", path, clip.origin, what, usable=rounds >= 2)
        elif self._frames.whole_chunks(clip.duration_s) < 2:
            what = f"is {clip.duration_s:g} s long: no two rounds"
            yield Problem("too short", path, clip.origin, what, usable=False)

    def recording_problems(self, its: Told, clips: int) -> Iterator[Problem]:
        """What of the words of a recording that gave so many clips none of these can show."""
        path = its.path
        if its.images:
            self._images[path, its.camera] = its.images, ""
        images, why = self._seen(path, its.camera)
        if images is None:
            yield Problem(UNREADABLE, str(path), str(path), why, usable=False)
            return
        spoken = [utterance for utterance in its.utterances if utterance.text.strip()]
        if spoken and not clips:
            begin_s, end_s = min(u.start_s for u in spoken), max(u.end_s for u in spoken)
            what = (
                f"gives no clip: it has words from {begin_s:.2f} to {end_s:.2f} s, images from "
                f"{images.begin_s:.2f} to {images.end_s:.2f} s"
            )
            yield Problem("no clip", str(path), str(path), what, usable=False)
        beside = words_beside(path)
        # Words inside a kept clip are its recorder's: a narrator may have seen more than was kept.
        by_hand = beside is not None and beside.parent != path
        misplaced = _early(spoken, images) if by_hand else _narrated(path, images)
        late = (("words after the end", what) for what in unshown(its, self._frames))
        left_out = (("questions left out", what) for what in unasked(its, self._frames))
        found = (*_set_back(images), *_disordered(its.words), *misplaced, *late, *left_out)
        for kind, what in found:
            yield Problem(kind, str(path), str(path), what, usable=True)

    def _rate(self, images: ImageTimes) -> Iterator[Finding]:
        """Fewer than half of the frames that the model is told it sees."""
        if images.filmed_s > 2 / self._frames.fps + ROUNDING_S:
            yield (
                "frame rate",
                f"filmed at {1 / images.filmed_s:.3g} frames per second, but streaming says fps: "
                f"{self._frames.fps:g}",
            )

    def _words(self, clip: ClipRecord) -> Iterator[Finding]:
        yield from _disordered(clip.words)
        # Words end in their clip: a slow one may begin before it.
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

    def _seen(self, path: Path, camera: str | None) -> tuple[ImageTimes | None, str]:
        """When it shows something, or why nothing of a recording can be used."""
        if (path, camera) not in self._images:
            self._images[path, camera] = self._look(path, camera)
        return self._images[path, camera]

    def _look(self, path: Path, camera: str | None) -> tuple[ImageTimes | None, str]:
        try:
            if path.is_file() and not path.stat().st_size:
                return None, f"{path} is empty (0 bytes)"
            with recording(path, camera, self._frames) as recorded:
                if not any(isinstance(event, Chunk) for event in recorded.events):
                    return None, f"{path} has no chunk of frames"
            return image_times(path, camera, self._frames), ""
        except (StreamingVLMError, OSError) as error:
            return None, str(error)


def _disordered(words: Sequence[Word]) -> Iterator[Finding]:
    if any(later.end_s < earlier.end_s for earlier, later in pairwise(words)):
        yield "words out of order", "its words are out of order: they are sorted by their ends"


def _set_back(images: ImageTimes) -> Iterator[Finding]:
    if images.back_ns is not None:
        yield (
            "clock set back",
            f"time goes back at {images.end_s:.2f} s: what comes after it is not learnt, and no "
            "line in a file of words or questions may be about it",
        )


def _times(clip: ClipRecord, images: ImageTimes) -> Iterator[Finding]:
    """Labels that are more than a frame away from every image."""
    if images.late_s > images.frame_s:
        yield (
            "late first image",
            f"the first image of {clip.recording} is at {images.late_s:.2f} s of the file, and "
            "seconds count from it: words timed by the file's clock come so much too late",
        )
    aways_s = [(images.away_s(word.start_s, word.end_s), word) for word in clip.words]
    alone = [(away_s, word) for away_s, word in aways_s if away_s > images.frame_s + ROUNDING_S]
    if alone:
        away_s, word = max(alone, key=lambda its: its[0])
        yield (
            "words without images",
            f"words without images: {len(alone)}; {word.text} at {word.start_s:g} s is "
            f"{away_s:.2f} s from the nearest one",
        )


def _early(spoken: Sequence[Utterance], images: ImageTimes) -> Iterator[Finding]:
    """A file's words about the time before the images; a narrator may have seen more than a bag."""
    ends_s = [its.end_s for its in spoken if its.end_s < images.begin_s - images.frame_s]
    if ends_s:
        yield (
            "words before the images",
            f"{len(ends_s)} of its utterances end up to {images.begin_s - min(ends_s):.2f} s "
            f"before its images: {_CLOCKS}",
        )


def _narrated(bag: Path, images: ImageTimes) -> Iterator[Finding]:
    """A narration's header has the stamp of the newest image that it is about."""
    with BagReader(bag) as its:
        topics = [topic.name for topic in its.topics if topic.type == NARRATION_TYPE]
        decoder = MessageDecoder()
        away_ns = [_away_ns(decoder.decode(recorded)) for recorded in its.messages(topics)]
    far_s = [away / NS_PER_S for away in away_ns if away / NS_PER_S > images.frame_s]
    if far_s:
        yield (
            "narrations of other times",
            f"{len(far_s)} of its narrations are about times up to {max(far_s):.2f} s away from "
            f"their images' stamps: {_CLOCKS}",
        )


def _away_ns(narration: Any) -> int:
    newest = stamp_ns(narration.header.stamp)
    return max(stamp_ns(narration.start) - newest, newest - stamp_ns(narration.end), 0)
