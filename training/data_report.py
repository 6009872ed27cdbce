"""What data holds and what is wrong with it, counted by one process or by several together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.rank import Rank

from .data import CONVERSATIONS, Broken, readers
from .datasets.check import UNREADABLE, Checker, Problem
from .datasets.conversations import Conversations
from .datasets.cutting import CutRecording
from .datasets.record import ClipRecord

_ERRORS = Console(stderr=True, highlight=False)


@dataclass
class Counts:
    """What a part of the data holds, of clips that can be used."""

    clips: int = 0
    seconds: float = 0.0
    words: int = 0
    questions: int = 0
    recordings: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    names: dict[Path, set[str]] = field(default_factory=dict)
    """By which its videos are called."""
    first: ClipRecord | None = None

    def add(self, clip: ClipRecord) -> None:
        """Count a clip."""
        self.clips += 1
        self.seconds += clip.duration_s
        self.words += sum(len(word.text.split()) for word in clip.words)
        self.questions += len(clip.exchanges) + len(clip.asked)
        self.recordings.add(clip.recording)
        self.first = self.first or clip

    def join(self, other: Counts) -> None:
        """Count what comes after it, too."""
        self.clips += other.clips
        self.seconds += other.seconds
        self.words += other.words
        self.questions += other.questions
        self.recordings |= other.recordings
        self.problems += other.problems
        for path, names in other.names.items():
            self.names[path] = self.names.get(path, set()) | names
        self.first = self.first or other.first


def count(
    paths: Sequence[Path], videos: str, settings: Settings, rank: Rank, topic: str = ""
) -> dict[Path, Counts]:
    """Read and check a process's share of every source: of files their clips, and recordings.

    `videos` and `topic` are those of DataConfig.
    """
    recordings = dict.fromkeys(path for path in paths if path.suffix != CONVERSATIONS)
    others = {path for n, path in enumerate(recordings) if n % rank.count != rank.number}
    own = [path for path in paths if path not in others]
    counts, checker = {path: Counts() for path in own}, Checker(settings.frames)
    read: dict[Path, Sequence[ClipRecord]] = {}
    for path, reader in zip(own, readers(own, videos, settings, topic), strict=True):
        if isinstance(reader, Broken):
            its = Problem(UNREADABLE, str(path), str(path), reader.why, usable=False)
            counts[path].problems.append(its)
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
        _check(path, read[path], index, checker, counts[path])
    for path, clips in read.items():
        if isinstance(clips, Conversations):
            counts[path].names = clips.videos.names
    return counts


def total(paths: Sequence[Path], shares: Sequence[dict[Path, Counts]]) -> Counts:
    """What all processes found, as one would have: source after source."""
    whole = Counts()
    for path in paths:
        for counts in shares:
            whole.join(counts.get(path, Counts()))
    whole.problems += _overwritten(whole.names)
    return whole


def _own_indices(clips: Sequence[ClipRecord], rank: Rank) -> range:
    """Neighbours, as they are of one recording; a recording is one process's as a whole."""
    if not isinstance(clips, Conversations):
        return range(len(clips))
    begin, end = (len(clips) * n // rank.count for n in (rank.number, rank.number + 1))
    return range(begin, end)


def _check(
    path: Path, clips: Sequence[ClipRecord], index: int, checker: Checker, counts: Counts
) -> None:
    try:
        clip = clips[index]
    except DataError as error:
        origin, what = f"{path}, clip {index + 1}", str(error)
        # Either the line is none, or the video that it names isn't there.
        if what.startswith(origin):
            what = what.removeprefix(origin).lstrip()
            its = Problem("no conversation", str(path), origin, what, usable=False)
        else:
            its = Problem("missing", what, origin, what, usable=False)
        counts.problems.append(its)
        return
    problems = list(checker.problems(clip))
    counts.problems += problems
    if all(problem.usable for problem in problems):
        counts.add(clip)


def _overwritten(videos: Mapping[Path, set[str]]) -> Iterator[Problem]:
    for path, names in sorted(videos.items()):
        if len(names) > 1:
            some = ", ".join(sorted(names)[:2])
            what = (
                f"stands for {len(names)} videos, such as {some}: all but one were overwritten "
                "when folders were flattened; fetch them anew"
            )
            yield Problem("overwritten", str(path), str(path), what, usable=False)
