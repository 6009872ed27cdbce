"""Recordings in folders, and the label files beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..bags.clip import SIDECAR
from ..bags.metadata import METADATA_FILE
from ..bags.storage import STORAGES
from ..errors import WordsError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")
ANNOTATION_SUFFIXES = (".jsonl", ".vtt", ".srt")
QUESTIONS_SUFFIX = ".questions.jsonl"
OTHER_SUBTITLES = (".ass", ".ssa", ".sub", ".sbv", ".smi", ".lrc", ".ttml", ".dfxp", ".idx")
CONVERSION = "convert other subtitles, for instance with ffmpeg -i NAME.ass NAME.vtt"


def find_recordings(path: Path) -> Iterator[Path]:
    """Yield the path itself, or the bags and videos in it if it is a folder but not a bag.

    Folders that can't be listed are left out; see `unreadable_folders`.
    """
    if not path.is_dir() or _is_bag(path):
        yield path
        return
    for entry in sorted(path.iterdir()):
        if (
            entry.suffix.lower() in VIDEO_SUFFIXES
            or entry.name.endswith(STORAGES)
            or _is_bag(entry)
        ):
            yield entry


def unreadable_folders(path: Path) -> list[Path]:
    """Return the subfolders that can't be listed, such as lost+found. They may be bags."""
    if not path.is_dir():
        return []
    return [entry for entry in sorted(path.iterdir()) if entry.is_dir() and _listed(entry) is None]


def name_of(recording: Path) -> str:
    """Return a recording's name: that of its file without the ending, or of its folder."""
    return recording.stem if recording.is_file() else recording.name


def annotations_beside(recording: Path) -> Path | None:
    """Return the file with a recording's narration: `NAME.jsonl`, `.vtt` or `.srt` beside it.

    Without one, return the file inside a saved clip.

    Raises:
        WordsError: there are several, and it is unclear which of them was corrected.
    """
    beside = list(filter(_is_file, _narration_paths(recording)))
    if len(beside) > 1 and not all(path.samefile(beside[0]) for path in beside):
        raise WordsError(
            f"{recording} has several label files, {' and '.join(map(str, beside))}: keep one "
            "of them"
        )
    sidecar = recording / SIDECAR
    return next(iter(beside), sidecar if _is_file(sidecar) else None)


def questions_beside(recording: Path) -> Path | None:
    """Return `NAME.questions.jsonl` if it exists."""
    file = _questions_path(recording)
    return file if _is_file(file) else None


def unread_labels(recording: Path) -> str:
    """Return what else beside a recording may be its labels, as the end of a message; or ''."""
    recording = recording.absolute()
    for entry in sorted(_listed(recording.parent) or []):
        is_named = entry.name.startswith(f"{name_of(recording)}.")
        if not is_named or entry in annotation_paths(recording):
            continue
        if entry.suffix.lower() in ANNOTATION_SUFFIXES:
            return f"; {entry.name} is not read: rename it to {name_of(recording)}{entry.suffix}"
        if entry.suffix.lower() in OTHER_SUBTITLES:
            return f"; {entry.name} is not read: {CONVERSION}"
    return ""


def annotation_paths(recording: Path) -> list[Path]:
    """Return all paths of a recording's possible label files, existing or not."""
    return [*_narration_paths(recording), recording / SIDECAR, _questions_path(recording)]


def _narration_paths(recording: Path) -> list[Path]:
    suffixes = (*ANNOTATION_SUFFIXES, *map(str.upper, ANNOTATION_SUFFIXES))
    return [recording.parent / f"{name_of(recording)}{suffix}" for suffix in suffixes]


def _questions_path(recording: Path) -> Path:
    return recording.parent / f"{name_of(recording)}{QUESTIONS_SUFFIX}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long for a file
        return False


def _is_bag(path: Path) -> bool:
    entries = _listed(path) or []
    return any(entry.name == METADATA_FILE or entry.name.endswith(STORAGES) for entry in entries)


def _listed(folder: Path) -> list[Path] | None:
    try:
        return list(folder.iterdir())
    except OSError:
        return None
