"""Recordings in folders, and the files with words that stand beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..bags.clip import SIDECAR
from ..bags.files import STORAGES
from ..bags.metadata import FILE

VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm")
WORDS = (".jsonl", ".vtt", ".srt")
QUESTIONS = ".questions.jsonl"


def find_recordings(path: Path) -> Iterator[Path]:
    """The path itself, or if it is a folder that is no bag, the bags and videos in it."""
    if not path.is_dir() or _is_bag(path):
        yield path
    else:
        for found in sorted(path.iterdir()):
            if found.suffix.lower() in VIDEOS or found.name.endswith(STORAGES) or _is_bag(found):
                yield found


def name_of(recording: Path) -> str:
    """What a recording is called: its file's name without the ending, or its folder's name."""
    return recording.stem if recording.is_file() else recording.name


def words_beside(recording: Path) -> Path | None:
    """What is said in it: `NAME.jsonl`, `.vtt` or `.srt`, or what the recorder kept in a clip."""
    candidates = [recording.parent / f"{name_of(recording)}{suffix}" for suffix in WORDS]
    candidates.append(recording / SIDECAR)
    return next(filter(_is_file, candidates), None)


def questions_beside(recording: Path) -> Path | None:
    """`NAME.questions.jsonl`."""
    file = recording.parent / f"{name_of(recording)}{QUESTIONS}"
    return file if _is_file(file) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long to be one
        return False


def _is_bag(path: Path) -> bool:
    if not path.is_dir():
        return False
    return (path / FILE).exists() or any(p.name.endswith(STORAGES) for p in path.iterdir())
