"""What a recipe learns from: the synthetic world, or recordings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.utils.data import Dataset

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import ConfigError, DataError, StreamingVLMError
from streamingvlm_ros.rank import process_rank
from streamingvlm_ros.recordings.folder import find_recordings
from streamingvlm_ros.recordings.recording import is_bag, open_recording

from .datasets.clips import RecordedClips, note_skipped
from .datasets.conversations import Conversations
from .datasets.cutting import CutConfig, CutRecording, cut, load_annotated
from .datasets.record import ClipRecord
from .datasets.videos import Videos
from .recipe import Recipe
from .samples import ClipSample
from .world_clips import WorldClips

CONVERSATIONS = ".jsonl"
"""Ending of the files that describe clips."""
SKIPPED = "skipped.jsonl"


@dataclass(frozen=True)
class Broken:
    """A recording that can't be read, or has no words."""

    path: Path
    why: str


def check_paths(recipe: Recipe) -> None:
    """DataError if files or folders of a recipe are not there; nothing is read of them."""
    if not recipe.data:
        return
    its = recipe.data
    for path in map(_path, (*its.train, *its.validation, *filter(None, [its.videos]))):
        if not path.exists():
            raise DataError(
                f"data: {path} is not there; paths are relative to the working directory, "
                f"{Path.cwd()}"
            )


def training_clips(recipe: Recipe, output: Path, processes: int = 1) -> Dataset[ClipSample]:
    """The clips that all processes learn from together. DataError if none can be read."""
    if recipe.data:
        its, broken = _whole(recipe, recipe.data.train, output)
        clips = RecordedClips(its, recipe.settings, output / SKIPPED)
        if not len(clips):
            why = f"; left out: {broken[0].why}" if broken else ""
            raise DataError(f"there is no clip in {', '.join(recipe.data.train)}{why}")
        clips.try_some()
        return clips
    alike = recipe.training.batch_clips
    count = recipe.training.steps * recipe.training.accumulate * alike * processes
    return WorldClips(count, recipe.seed, recipe.clips, recipe.settings, alike)


def validation_clips(recipe: Recipe, output: Path) -> Dataset[ClipSample] | None:
    """The clips that the loss is measured with, None without. DataError if none can be read."""
    if not recipe.data:
        return None
    its, _ = _whole(recipe, recipe.data.validation, output)
    clips = RecordedClips(its, recipe.settings, output / SKIPPED, drawn=False)
    if not len(clips):
        return None
    clips.try_some()
    return clips


def sources(paths: Iterable[str]) -> list[Path]:
    """Files of conversations and recordings, each by itself."""
    return [
        found
        for path in map(_path, paths)
        for found in ([path] if path.suffix == CONVERSATIONS else find_recordings(path))
    ]


def readers(
    paths: Iterable[Path], videos: str, settings: Settings, topic: str = ""
) -> list[Sequence[ClipRecord] | Broken]:
    """One for each source. DataError for a file of conversations that can't be read.

    `videos` and `topic` are those of DataConfig.
    """
    root = Videos(_path(videos)) if videos else None
    return [_reader(path, root, settings, topic) for path in paths]


def _reader(
    path: Path, root: Videos | None, settings: Settings, topic: str
) -> Sequence[ClipRecord] | Broken:
    if path.suffix == CONVERSATIONS:
        return Conversations(path, root)
    camera = topic if topic and is_bag(path) else None
    try:
        with open_recording(path, camera) as recording:
            annotated = load_annotated(recording, settings.frames)
        return CutRecording(annotated, cut(annotated, CutConfig(), settings=settings))
    except ConfigError:
        # Nothing can be cut with such settings.
        raise
    except (StreamingVLMError, OSError) as error:
        return Broken(path, str(error))


def _whole(
    recipe: Recipe, paths: Sequence[str], output: Path
) -> tuple[list[Sequence[ClipRecord]], list[Broken]]:
    """Readers of what can be read, and what can't: that is told and listed."""
    assert recipe.data
    its = recipe.data
    found = readers(sources(paths), its.videos, recipe.settings, its.topic)
    broken = [one for one in found if isinstance(one, Broken)]
    for one in broken:
        note_skipped(output / SKIPPED, str(one.path), why=one.why)
        if process_rank().number == 0:
            print(f"left out {one.path}: {one.why}", file=sys.stderr, flush=True)
    return [one for one in found if not isinstance(one, Broken)], broken


def _path(given: str) -> Path:
    """As a shell takes it; whose home nobody knows is not there."""
    try:
        return Path(given).expanduser()
    except RuntimeError:
        return Path(given)
