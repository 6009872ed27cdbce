"""Recordings in folders, and the label files beside them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from ..bags.clip import SIDECAR
from ..bags.metadata import METADATA_FILE
from ..bags.storage import STORAGES
from ..errors import WordsError

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".dv"),
    *(".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".ts", ".mts", ".m2ts", ".m2t", ".mod", ".tod"),
    *(".vob", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogm", ".mxf", ".gif", ".y4m"),
    *(".mjpg", ".mjpeg", ".h264", ".264", ".h265", ".265", ".hevc"),
)
_ROS1_SUFFIX = ".bag"
"""A ROS 1 bag counts as a recording: the error from opening it says how to convert it."""
_RECORDING_SUFFIXES = (*STORAGES, *VIDEO_SUFFIXES, _ROS1_SUFFIX)

ANNOTATION_SUFFIXES = (".jsonl", ".vtt", ".srt")
QUESTIONS_SUFFIX = ".questions.jsonl"
OTHER_SUBTITLES = (".ass", ".ssa", ".sub", ".sbv", ".smi", ".lrc", ".ttml", ".dfxp", ".idx")
CONVERSION = "convert other subtitles, for instance with ffmpeg -i NAME.ass NAME.vtt"
_LABEL_SUFFIXES = (QUESTIONS_SUFFIX, *ANNOTATION_SUFFIXES)

_COMPANION = re.compile(r"-(wal|shm|journal)$")
"""What SQLite adds to a database's name for the files beside it."""
_PART = re.compile(r"(.+)_(\d+)")
"""Names of a bag's files, without their endings."""
_MAX_NAMES = 10
"""Maximum number of names in a line about skipped entries."""


def find_recordings(path: Path) -> Iterator[Path]:
    """Yield the path itself, or the bags and videos in it if it is a folder but not a bag.

    Subfolders that are not bags are not searched. `skipped_entries` describes the rest.
    """
    if not path.is_dir():
        yield path
    elif _is_bag(path):
        # Labels have the folder's name, which `.` and `..` are not.
        yield path.resolve() if path.name in ("", "..") else path
    else:
        yield from filter(_is_recording, sorted(path.iterdir()))


def skipped_entries(*paths: Path) -> list[str]:
    """Return a line for each reason why entries of folders are no recordings, with their names.

    Labels of recordings and hidden files are not mentioned.
    """
    return [line for path in paths for line in _skipped_entries(path)]


def name_of(recording: Path) -> str:
    """Return a recording's name: that of its file without the ending, or of its folder."""
    if not recording.is_file():
        return recording.name
    storage = _suffix(recording, STORAGES)
    return recording.name[: -len(storage)] if storage else recording.stem


def annotations_beside(recording: Path) -> Path | None:
    """Return the file with a recording's narration: `NAME.jsonl`, `.vtt` or `.srt` beside it.

    The ending may be in capitals. Without a file return the one inside a saved clip.

    Raises:
        WordsError: there are several, and it is unclear which of them was corrected.
    """
    beside = _beside(recording, ANNOTATION_SUFFIXES)
    if len(beside) > 1:
        raise WordsError(
            f"{recording} has several label files, {' and '.join(map(str, beside))}: keep one "
            "of them"
        )
    sidecar = recording / SIDECAR
    return next(iter(beside), sidecar if _is_file(sidecar) else None)


def questions_beside(recording: Path) -> Path | None:
    """Return `NAME.questions.jsonl` if it exists."""
    return next(iter(_beside(recording, (QUESTIONS_SUFFIX,))), None)


def unread_labels(recording: Path) -> str:
    """Return what else beside a recording may be its labels, as the end of a message; or ''."""
    recording = recording.absolute()
    name, read = name_of(recording), annotation_paths(recording)
    for entry in sorted(_listed(recording.parent) or []):
        if not entry.name.startswith(f"{name}.") or entry in read:
            continue
        if entry.suffix.lower() in ANNOTATION_SUFFIXES:
            return f"; {entry.name} is not read: rename it to {name}{entry.suffix}"
        if entry.suffix.lower() in OTHER_SUBTITLES:
            return f"; {entry.name} is not read: {CONVERSION}"
    return ""


def annotation_paths(recording: Path) -> list[Path]:
    """Return all paths of a recording's possible label files, existing or not."""
    name = name_of(recording)
    usual = [recording.parent / f"{name}{suffix}" for suffix in _LABEL_SUFFIXES]
    return [*dict.fromkeys([*usual, *_beside(recording, _LABEL_SUFFIXES)]), recording / SIDECAR]


def _skipped_entries(path: Path) -> Iterator[str]:
    entries = sorted(_listed(path) or [])
    recordings = {name_of(entry) for entry in entries if _is_recording(entry)}
    names: dict[str, list[str]] = defaultdict(list)
    in_bag = _is_bag(path)
    for entry in entries:
        reason = _stray(entry) if in_bag else _reason(entry, recordings)
        if reason:
            names[reason].append(entry.name)
    for reason, skipped in names.items():
        yield f"skipped {_shortened(skipped)} in {path}: {reason}"


def _beside(recording: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files beside a recording with its name and one of the suffixes, in their order."""
    name, siblings = name_of(recording), _listed(recording.parent)
    if siblings is None:  # a folder may be open without a list of its files
        siblings = [recording.parent / f"{name}{suffix}" for suffix in suffixes]
    named = [path for path in siblings if path.name.startswith(name) and _is_file(path)]
    return [
        path
        for suffix in suffixes
        for path in sorted(named)
        if path.name[len(name) :].lower() == suffix
    ]


def _is_recording(entry: Path) -> bool:
    if entry.name.startswith("."):
        return False
    if entry.is_dir():
        return _is_bag(entry)
    return bool(_suffix(entry, _RECORDING_SUFFIXES)) and _is_file(entry) and not _is_copy(entry)


def _is_bag(folder: Path) -> bool:
    """Return True for a folder that holds one bag.

    Without metadata, as a killed recorder leaves it, these are the files NAME_0, NAME_1 … alone:
    others are recordings of their own, put into one folder.
    """
    entries = [e for e in _listed(folder) or [] if not e.name.startswith(".")]
    parts = [entry for entry in entries if _suffix(entry, STORAGES)]
    has_others = any(map(_is_film_or_bag, entries))
    if any(entry.name == METADATA_FILE for entry in entries):
        return bool(parts) or not has_others
    return not has_others and _are_of_one_bag(parts)


def _is_film_or_bag(entry: Path) -> bool:
    """Return True for an entry that can't be a part of the bag in its folder."""
    if entry.is_dir():
        return _is_file(entry / METADATA_FILE)
    return bool(_suffix(entry, (*VIDEO_SUFFIXES, _ROS1_SUFFIX))) and _is_file(entry)


def _are_of_one_bag(parts: Collection[Path]) -> bool:
    named = [_PART.fullmatch(name_of(part)) for part in parts]
    names = {match[1] for match in named if match}
    numbers = {int(match[2]) for match in named if match}
    return all(named) and len(names) == 1 and 0 in numbers


def _is_copy(entry: Path) -> bool:
    """Return True for the compressed copy of a bag's file beside it."""
    return entry.suffix.lower() == ".zstd" and _is_file(entry.with_suffix(""))


def _reason(entry: Path, recordings: Collection[str]) -> str:
    """Return why an entry is no recording; '' for recordings, their labels, and hidden files."""
    named_like_one = bool(_suffix(entry, _RECORDING_SUFFIXES))
    if _is_recording(entry) or (entry.name.startswith(".") and not named_like_one):
        return ""
    if entry.name.startswith("."):
        return "hidden"
    if entry.is_dir():
        return _folder_reason(entry)
    if named_like_one:
        return "the compressed copy of a file beside it" if _is_copy(entry) else "not a file"
    label = _suffix(entry, _LABEL_SUFFIXES)
    if label:
        is_used = entry.name[: -len(label)] in recordings
        return "" if is_used else "labels without a recording of that name"
    owner = entry.with_name(_COMPANION.sub("", entry.name))
    return "" if owner != entry and _is_recording(owner) else "not named like a bag or a video"


def _folder_reason(folder: Path) -> str:
    if _listed(folder) is None:
        return "can't be listed"
    return "not a bag; name the folder itself to read the recordings in it"


def _stray(entry: Path) -> str:
    """Return why an entry of a bag's folder is skipped; '' for the bag's own."""
    return "in a bag's folder; move it out to read it" if _is_film_or_bag(entry) else ""


def _shortened(names: list[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _suffix(path: Path, suffixes: tuple[str, ...]) -> str:
    """Return the longest of the suffixes that a name ends with, in any case; '' if there is none.

    A name that is nothing but a suffix has none.
    """
    name = path.name.lower()
    return max((s for s in suffixes if name.endswith(s) and name != s), key=len, default="")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long for a file
        return False


def _listed(folder: Path) -> list[Path] | None:
    try:
        return list(folder.iterdir())
    except OSError:
        return None
