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


def readers(paths: Iterable[str], videos: str, settings: Settings) -> list[Sequence[ClipRecord]]:
    """One for each file of conversations, and for each recording.

    DataError, WordsError, BagError or SourceError for what can't be read.
    """
    root = Videos(Path(videos)) if videos else None
    found: list[Sequence[ClipRecord]] = []
    for path in map(Path, paths):
        if path.suffix == ".jsonl":
            found.append(Conversations(path, root))
        else:
            found += [_cut(its, settings) for its in find_recordings(path)]
    return found


def _cut(recording: Path, settings: Settings) -> list[ClipRecord]:
    return list(cut(told(recording, None, settings.frames), CutConfig(), settings))


def _recorded(recipe: Recipe, paths: Sequence[str], output: Path) -> RecordedClips:
    assert recipe.data
    its = readers(paths, recipe.data.videos, recipe.settings)
    clips = RecordedClips(its, recipe.settings, output / SKIPPED)
    if not len(clips):
        raise DataError(f"there is no clip in {', '.join(paths)}")
    return clips
