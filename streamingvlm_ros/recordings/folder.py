"""Recordings in folders, and the files with words that stand beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..bags.clip import SIDECAR
from ..bags.metadata import METADATA_FILE
from ..bags.storage import STORAGES
from ..errors import WordsError

VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm")
WORDS = (".jsonl", ".vtt", ".srt")
QUESTIONS = ".questions.jsonl"


def find_recordings(path: Path) -> Iterator[Path]:
    """The path itself, or if it is a folder that is no bag, the bags and videos in it.

    What is `unlisted` is passed over.
    """
    if not path.is_dir() or _is_bag(path):
        yield path
    else:
        for found in sorted(path.iterdir()):
            if found.suffix.lower() in VIDEOS or found.name.endswith(STORAGES) or _is_bag(found):
                yield found


def unlisted(path: Path) -> list[Path]:
    """Folders in a folder that can't be listed, as a disk's lost+found: they may be bags."""
    if not path.is_dir():
        return []
    return [found for found in sorted(path.iterdir()) if found.is_dir() and _listed(found) is None]


def name_of(recording: Path) -> str:
    """What a recording is called: its file's name without the ending, or its folder's name."""
    return recording.stem if recording.is_file() else recording.name


def words_beside(recording: Path) -> Path | None:
    """What is said in it: `NAME.jsonl`, `.vtt` or `.srt`, or what the recorder kept in a clip.

    WordsError if several stand beside it: nobody knows which of them was corrected.
    """
    beside = list(filter(_is_file, _words_places(recording)))
    if len(beside) > 1:
        raise WordsError(
            f"what is said in {recording} stands in {' and in '.join(map(str, beside))}: keep one "
            "of them"
        )
    kept = recording / SIDECAR
    return next(iter(beside), kept if _is_file(kept) else None)


def questions_beside(recording: Path) -> Path | None:
    """`NAME.questions.jsonl`."""
    file = _questions_place(recording)
    return file if _is_file(file) else None


def places_beside(recording: Path) -> list[Path]:
    """All files, there or not, in which words and questions of a recording are looked for."""
    return [*_words_places(recording), recording / SIDECAR, _questions_place(recording)]


def _words_places(recording: Path) -> list[Path]:
    return [recording.parent / f"{name_of(recording)}{suffix}" for suffix in WORDS]


def _questions_place(recording: Path) -> Path:
    return recording.parent / f"{name_of(recording)}{QUESTIONS}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long to be one
        return False


def _is_bag(path: Path) -> bool:
    inside = _listed(path) or []
    return any(found.name == METADATA_FILE or found.name.endswith(STORAGES) for found in inside)


def _listed(folder: Path) -> list[Path] | None:
    try:
        return list(folder.iterdir())
    except OSError:
        return None
