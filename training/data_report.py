"""Counts of training data and its problems, by one process or several together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.rank import Rank

from .data import CONVERSATIONS, UnreadableSource, open_readers
from .datasets.check import UNREADABLE, Checker, Problem
from .datasets.conversations import Conversations
from .datasets.cutting import CutRecording
from .datasets.record import ClipRecord

_ERRORS = Console(stderr=True, highlight=False)


@dataclass
class Counts:
    """Usable clips of a part of the data, and the problems in it."""

    clips: int = 0
    seconds: float = 0.0
    words: int = 0
    questions: int = 0
    recordings: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    video_names: dict[Path, set[str]] = field(default_factory=dict)
    """Names in the files for each video."""
    first_clip: ClipRecord | None = None

    def add(self, clip: ClipRecord) -> None:
        """Add a clip."""
        self.clips += 1
        self.seconds += clip.duration_s
        self.words += sum(len(word.text.split()) for word in clip.words)
        self.questions += len(clip.exchanges) + len(clip.asked)
        self.recordings.add(clip.recording)
        self.first_clip = self.first_clip or clip

    def merge(self, other: Counts) -> None:
        """Add the counts of later data."""
        self.clips += other.clips
        self.seconds += other.seconds
        self.words += other.words
        self.questions += other.questions
        self.recordings |= other.recordings
        self.problems += other.problems
        for path, names in other.video_names.items():
            self.video_names[path] = self.video_names.get(path, set()) | names
        self.first_clip = self.first_clip or other.first_clip


def count_data(
    paths: Sequence[Path], videos: str, *, settings: Settings, rank: Rank, topic: str = ""
) -> dict[Path, Counts]:
    """Read and check this process's share of every source: clips of files, and recordings.

    `videos` and `topic` are those of DataConfig.
    """
    recordings = dict.fromkeys(path for path in paths if path.suffix != CONVERSATIONS)
    others = {path for n, path in enumerate(recordings) if n % rank.count != rank.number}
    own = [path for path in paths if path not in others]
    counts, checker = {path: Counts() for path in own}, Checker(settings.frames)
    read: dict[Path, Sequence[ClipRecord]] = {}
    readers = open_readers(own, videos, settings=settings, topic=topic)
    for path, reader in zip(own, readers, strict=True):
        if isinstance(reader, UnreadableSource):
            problem = Problem(UNREADABLE, str(path), str(path), reader.reason, usable=False)
            counts[path].problems.append(problem)
            continue
        read[path] = reader
        if isinstance(reader, CutRecording):
            counts[path].problems += checker.recording_problems(reader.annotated, len(reader))
    shares = {path: _own_indices(clips, rank) for path, clips in read.items()}
    to_check = ((path, index) for path, indices in shares.items() for index in indices)
    clip_count = sum(map(len, shares.values()))
    for path, index in track(
        to_check, "checking", clip_count, console=_ERRORS, transient=True, disable=rank.number > 0
    ):
        _check(path, read[path], index=index, checker=checker, counts=counts[path])
    for path, clips in read.items():
        if isinstance(clips, Conversations):
            counts[path].video_names = clips.videos.names
    return counts


def merge_counts(paths: Sequence[Path], shares: Sequence[dict[Path, Counts]]) -> Counts:
    """Merge the counts of all processes, source after source, as one process would count."""
    total = Counts()
    for path in paths:
        for counts in shares:
            total.merge(counts.get(path, Counts()))
    total.problems += _overwritten_videos(total.video_names)
    return total


def _own_indices(clips: Sequence[ClipRecord], rank: Rank) -> range:
    """Return this process's clips: neighbours in a file, or all clips of a recording."""
    if not isinstance(clips, Conversations):
        return range(len(clips))
    begin, end = (len(clips) * n // rank.count for n in (rank.number, rank.number + 1))
    return range(begin, end)


def _check(
    path: Path, clips: Sequence[ClipRecord], *, index: int, checker: Checker, counts: Counts
) -> None:
    try:
        clip = clips[index]
    except DataError as error:
        origin, message = f"{path}, clip {index + 1}", str(error)
        # Either the line isn't a conversation, or its video doesn't exist.
        if message.startswith(origin):
            message = message.removeprefix(origin).lstrip()
            problem = Problem("no conversation", str(path), origin, message, usable=False)
        else:
            problem = Problem("missing", message, origin, message, usable=False)
        counts.problems.append(problem)
        return
    problems = list(checker.problems(clip))
    counts.problems += problems
    if all(problem.usable for problem in problems):
        counts.add(clip)


def _overwritten_videos(videos: Mapping[Path, set[str]]) -> Iterator[Problem]:
    for path, names in sorted(videos.items()):
        if len(names) > 1:
            examples = ", ".join(sorted(names)[:2])
            message = (
                f"stands for {len(names)} videos, such as {examples}: all but one were overwritten "
                "when folders were flattened; download them again"
            )
            yield Problem("overwritten", str(path), str(path), message, usable=False)
