"""The clips that a recipe trains on: of the synthetic world, or of recordings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.utils.data import Dataset

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.rank import process_rank
from streamingvlm_ros.recordings.folder import find_recordings, skipped_entries
from streamingvlm_ros.recordings.recording import is_bag, open_recording
from streamingvlm_ros.recordings.skipping import skip_reason

from .datasets.clips import RecordedClips, note_skipped
from .datasets.conversations import Conversations
from .datasets.cutting import CutConfig, CutRecording, cut, load_annotated
from .datasets.record import ClipRecord
from .datasets.videos import Videos
from .recipe import Recipe
from .samples import ClipSample
from .world_clips import WorldClips

CONVERSATIONS = ".jsonl"
"""Suffix of files that describe clips."""
SKIPPED = "skipped.jsonl"


@dataclass(frozen=True)
class UnreadableSource:
    """A recording that can't be read or has no narration."""

    path: Path
    reason: str


def check_paths(recipe: Recipe) -> None:
    """Raise DataError if a recipe's files or folders don't exist. Nothing is opened."""
    data = recipe.data
    if not data:
        return
    for path in map(_expand, (*data.train, *data.validation, *filter(None, [data.videos]))):
        if not path.exists():
            raise DataError(
                f"data: {path} doesn't exist; paths are relative to the working directory, "
                f"{Path.cwd()}"
            )


def training_clips(recipe: Recipe, output: Path, *, processes: int = 1) -> Dataset[ClipSample]:
    """Return the clips that all processes train on together.

    Raises:
        DataError: No clip can be read.
    """
    if recipe.data:
        readable, unreadable = _open_sources(recipe, recipe.data.train, output=output)
        clips = RecordedClips(readable, recipe.settings, skipped_file=output / SKIPPED)
        if not len(clips):
            reason = f"; left out: {unreadable[0].reason}" if unreadable else ""
            raise DataError(f"no clip to train on in {', '.join(recipe.data.train)}{reason}")
        clips.try_some()
        return clips
    batch_clips = recipe.training.batch_clips
    count = recipe.training.steps * recipe.training.accumulate * batch_clips * processes
    return WorldClips(
        count, recipe.seed, clips=recipe.clips, settings=recipe.settings, group_size=batch_clips
    )


def validation_clips(recipe: Recipe, output: Path) -> Dataset[ClipSample] | None:
    """Return the clips for the validation loss; None if the recipe has none.

    Raises:
        DataError: No clip can be read.
    """
    if not recipe.data:
        return None
    readable, _ = _open_sources(recipe, recipe.data.validation, output=output)
    clips = RecordedClips(readable, recipe.settings, skipped_file=output / SKIPPED, drawn=False)
    if not len(clips):
        return None
    clips.try_some()
    return clips


def find_sources(paths: Iterable[str]) -> list[Path]:
    """Return every file of conversations and every recording at or below `paths`."""
    return [
        source
        for path in map(_expand, paths)
        for source in ([path] if path.suffix == CONVERSATIONS else find_recordings(path))
    ]


def print_skipped(paths: Iterable[str]) -> None:
    """Name what `find_sources` leaves out, once for all processes."""
    if process_rank().number == 0:
        for line in skipped_entries(*map(_expand, paths)):
            print(line, file=sys.stderr, flush=True)


def open_readers(
    paths: Iterable[Path], videos: str, *, settings: Settings, topic: str = ""
) -> list[Sequence[ClipRecord] | UnreadableSource]:
    """Return a reader for each source. `videos` and `topic` are those of DataConfig.

    Raises:
        DataError: A file of conversations can't be read.
    """
    root = Videos(_expand(videos)) if videos else None
    return [_reader(path, root, settings=settings, topic=topic) for path in paths]


def _reader(
    path: Path, root: Videos | None, *, settings: Settings, topic: str
) -> Sequence[ClipRecord] | UnreadableSource:
    if path.suffix == CONVERSATIONS:
        return Conversations(path, root)
    camera = topic if topic and is_bag(path) else None
    try:
        with open_recording(path, camera) as recording:
            annotated = load_annotated(recording, settings.frames)
        return CutRecording(annotated, cut(annotated, CutConfig(), settings=settings))
    except Exception as error:  # readers may raise anything
        return UnreadableSource(path, skip_reason(error))


def _open_sources(
    recipe: Recipe, paths: Sequence[str], *, output: Path
) -> tuple[list[Sequence[ClipRecord]], list[UnreadableSource]]:
    """Return readers of what can be read, and what can't; that is printed and listed."""
    data = recipe.data
    assert data
    print_skipped(paths)
    sources = open_readers(
        find_sources(paths), data.videos, settings=recipe.settings, topic=data.topic
    )
    unreadable = [source for source in sources if isinstance(source, UnreadableSource)]
    for source in unreadable:
        note_skipped(output / SKIPPED, str(source.path), why=source.reason)
        if process_rank().number == 0:
            print(f"left out {source.path}: {source.reason}", file=sys.stderr, flush=True)
    return [source for source in sources if not isinstance(source, UnreadableSource)], unreadable


def _expand(path: str) -> Path:
    """Expand `~` as a shell does; the home of an unknown user stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
