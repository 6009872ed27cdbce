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
            if found.suffix in VIDEOS or found.name.endswith(STORAGES) or _is_bag(found):
                yield found


def name_of(recording: Path) -> str:
    """What a recording is called: its file's name without the ending, or its folder's name."""
    return recording.stem if recording.is_file() else recording.name


def words_beside(recording: Path) -> Path | None:
    """What is said in it: `NAME.jsonl`, `.vtt` or `.srt`, or what the recorder kept in a clip."""
    candidates = [recording.parent / f"{name_of(recording)}{suffix}" for suffix in WORDS]
    candidates.append(recording / SIDECAR)
    return next((file for file in candidates if file.is_file()), None)


def questions_beside(recording: Path) -> Path | None:
    """`NAME.questions.jsonl`."""
    file = recording.parent / f"{name_of(recording)}{QUESTIONS}"
    return file if file.is_file() else None


def _is_bag(path: Path) -> bool:
    if not path.is_dir():
        return False
    return (path / FILE).exists() or any(p.name.endswith(STORAGES) for p in path.iterdir())
