"""The clips that an export has cut from each recording, cached in a file for each.

The cache lets an export resume, and independent processes share it. An entry is a line that says
what it depends on, then its clips as they are in the exported file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamingvlm_ros.atomic_write import write_text
from streamingvlm_ros.bags.storage import STORAGES
from streamingvlm_ros.config import Settings
from streamingvlm_ros.file_hash import sha256_of
from streamingvlm_ros.recordings.folder import annotation_paths, name_of

from .cutting import CutConfig


@dataclass(frozen=True, slots=True)
class CachedClips:
    """Lines of a recording's clips and problems to look at; `skipped` says why there are none."""

    lines: tuple[str, ...]
    skipped: str = ""
    problems: tuple[str, ...] = ()


class ExportCache:
    """Entries in a folder, valid for the same recordings, words and settings only.

    The recordings and words are examined once, before anything is cut. Words that are corrected
    while an export runs change the next one, and a bag that still grows is exported again by it.
    """

    def __init__(
        self,
        folder: Path,
        cameras: Mapping[Path, str | None],
        *,
        settings: Settings,
        config: CutConfig,
    ) -> None:
        """`cameras` has the recordings with their image topics; None if there is only one."""
        self._folder, self._settings, self._config = folder, settings, config
        self._cameras = cameras
        self._dependencies = {path: self._examine(path) for path in cameras}

    def reserve(self, recording: Path) -> None:
        """Note that a video will be written, so that it has an owner if the export is killed."""
        self._write(recording, {"film": True}, lines=())

    def store(self, recording: Path, clips: CachedClips, *, has_video: bool) -> None:
        """Write a recording's entry atomically."""
        head = {
            "film": has_video,
            "skipped": clips.skipped,
            "problems": clips.problems,
            "clips": _clips_digest(clips.lines),
        }
        self._write(recording, head, lines=clips.lines)

    def load(self, recording: Path) -> CachedClips | None:
        """Return a recording's entry; None if there is none that is valid."""
        head, lines = _read(self.entry(recording))
        expected = self._dependencies[recording]
        stored = {name: head.get(name) for name in expected}
        # Another process may have started later, and cut words that were corrected meanwhile.
        if stored != expected and stored != self._examine(recording):
            return None
        # It may be cut off by a crash, from an earlier version, or only reserved.
        if head.get("clips") != _clips_digest(lines):
            return None
        return CachedClips(lines, head["skipped"], tuple(head["problems"]))

    def load_all(self) -> dict[Path, CachedClips] | None:
        """Return the entries of all recordings, in their order; None if one is missing."""
        entries = {path: clips for path in self._dependencies if (clips := self.load(path))}
        return entries if len(entries) == len(self._dependencies) else None

    def other_names(self) -> list[str]:
        """Return the names of other recordings that have clips here."""
        names = {path.stem for path in self._entries()} - {*map(name_of, self._dependencies)}
        return sorted(name for name in names if _read(self._entry(name))[1])

    def video_is_current(self, recording: Path) -> bool:
        """Return True if the video shows this recording as it is, with these frames."""
        head = _head(self.entry(recording))
        return bool(head.get("film")) and head.get("seen") == self._dependencies[recording]["seen"]

    def made_video(self, recording: Path) -> bool:
        """Return True if an export has made the video of this name, whatever it shows."""
        return bool(_head(self.entry(recording)).get("film"))

    def has_entry(self, recording: Path) -> bool:
        """Return True if the recording's entry is one of an export, valid or not."""
        return "seen" in _head(self.entry(recording))

    def has_entries(self) -> bool:
        """Return True if an export has left an entry."""
        return any("seen" in _head(file) for file in self._entries())

    def entry(self, recording: Path) -> Path:
        """Return the path of a recording's entry."""
        return self._entry(name_of(recording))

    def _entry(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    def _entries(self) -> Iterator[Path]:
        return self._folder.glob("*.jsonl")

    def _write(self, recording: Path, head: dict[str, Any], *, lines: Sequence[str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        first = json.dumps({**self._dependencies[recording], **head})
        write_text(self.entry(recording), "\n".join([first, *lines]))

    def _examine(self, recording: Path) -> dict[str, Any]:
        return {
            "seen": self._video_dependencies(recording),
            "said": self._clip_dependencies(recording),
        }

    def _video_dependencies(self, recording: Path) -> dict[str, Any]:
        return {
            "recording": str(recording.absolute()),
            "camera": self._cameras[recording],
            "files": [_stat(path) for path in _files(recording)],
            "frames": asdict(self._settings.frames),
        }

    def _clip_dependencies(self, recording: Path) -> dict[str, Any]:
        """Return the dependencies of the clips besides those of the video."""
        return {
            "beside": [_digest(file) for file in annotation_paths(recording)],
            "cut": asdict(self._config),
            "window": asdict(self._settings.window),
            "prompt": asdict(self._settings.prompt),
        }


def _read(file: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return an entry's head and clips; both are empty if the file isn't an entry."""
    try:
        # Not splitlines: U+2028 is text in JSON.
        first, *lines = file.read_text(encoding="utf-8").split("\n")
        head = _parsed(first)
    except (OSError, ValueError):
        return {}, ()
    return head, tuple(lines)


def _head(file: Path) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8") as entry:
            return _parsed(entry.readline())
    except (OSError, ValueError):
        return {}


def _parsed(line: str) -> dict[str, Any]:
    head = json.loads(line)
    if not isinstance(head, dict):
        raise ValueError(f"expected a JSON object, not {line}")
    return head


def _files(recording: Path) -> list[Path]:
    """Return a video, or the files of a bag that hold messages: saved clips have others too.

    Empty if they can't be listed: opening the bag will report why.
    """
    if not recording.is_dir():
        return [recording]
    try:
        return sorted(path for path in recording.iterdir() if path.name.endswith(STORAGES))
    except OSError:
        return []


def _stat(file: Path) -> list[int] | str | None:
    """Return size and modification time, or the error. Sizes of raw images are always equal."""
    try:
        stat = file.stat()
    except OSError as error:
        return error.strerror
    return [stat.st_size, stat.st_mtime_ns]


def _digest(file: Path) -> str | None:
    """Return the digest of a file, or the error if it can't be read."""
    try:
        return sha256_of([file])[:16]
    except OSError as error:
        return error.strerror


def _clips_digest(lines: Sequence[str]) -> str:
    # As write_text writes them.
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()[:16]
