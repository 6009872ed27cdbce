"""What a recipe learns from: the synthetic world, or recordings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch.utils.data import Dataset

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.recordings.folder import find_recordings

from .clips import RecordedClips
from .conversations import Conversations
from .cutting import CutConfig, cut, told
from .recipe import Recipe
from .record import ClipRecord
from .samples import ClipSample
from .videos import Videos
from .world_clips import WorldClips

CONVERSATIONS = ".jsonl"
"""Ending of the files that describe clips."""
SKIPPED = "skipped.jsonl"


def training_clips(recipe: Recipe, output: Path, processes: int = 1) -> Dataset[ClipSample]:
    """The clips that all processes learn from together. DataError if there are none."""
    if recipe.data:
        return _recorded(recipe, recipe.data.train, output)
    alike = recipe.training.batch_clips
    count = recipe.training.steps * recipe.training.accumulate * alike * processes
    return WorldClips(count, recipe.seed, recipe.clips, recipe.settings, alike)


def validation_clips(recipe: Recipe, output: Path) -> Dataset[ClipSample] | None:
    """The clips that the loss is measured with; None without."""
    if not recipe.data or not recipe.data.validation:
        return None
    return _recorded(recipe, recipe.data.validation, output)


def sources(paths: Iterable[str]) -> list[Path]:
    """Files of conversations and recordings, each by itself."""
    return [
        found
        for path in map(Path, paths)
        for found in ([path] if path.suffix == CONVERSATIONS else find_recordings(path))
    ]


def readers(paths: Iterable[Path], videos: str, settings: Settings) -> list[Sequence[ClipRecord]]:
    """One for each source.

    DataError, WordsError, BagError or SourceError for what can't be read.
    """
    root = Videos(Path(videos)) if videos else None
    return [_reader(path, root, settings) for path in paths]


def _reader(path: Path, root: Videos | None, settings: Settings) -> Sequence[ClipRecord]:
    if path.suffix == CONVERSATIONS:
        return Conversations(path, root)
    return list(cut(told(path, None, settings.frames), CutConfig(), settings))


def _recorded(recipe: Recipe, paths: Sequence[str], output: Path) -> RecordedClips:
    assert recipe.data
    its = readers(sources(paths), recipe.data.videos, recipe.settings)
    clips = RecordedClips(its, recipe.settings, output / SKIPPED)
    if not len(clips):
        raise DataError(f"there is no clip in {', '.join(paths)}")
    return clips
