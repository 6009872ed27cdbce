"""What an export has made of each recording, a file for each.

With them an export is gone on with, and shared by processes that know nothing of each other. A
part is a line that says what it was made of, then its clips as they stand in the file that all
parts become.
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
from streamingvlm_ros.recordings.folder import name_of, places_beside

from .cutting import CutConfig


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of clips and what to look at, or why there are none."""

    lines: tuple[str, ...]
    skipped: str = ""
    problems: tuple[str, ...] = ()


class Parts:
    """Parts in a folder: only those of the same recordings, words and settings are taken.

    What a recording is made of is looked at once, before anything is cut: who corrects words while
    an export runs changes the next one, and a bag that still grows is filmed anew by that.
    """

    def __init__(
        self,
        folder: Path,
        cameras: Mapping[Path, str | None],
        settings: Settings,
        config: CutConfig,
    ) -> None:
        """Of the recordings in `cameras`, each with its image topic; None if there is only one."""
        self._folder, self._settings, self._config = folder, settings, config
        self._cameras = cameras
        self._made_of = {path: self._look(path) for path in cameras}

    def begin(self, recording: Path) -> None:
        """Say that its film will be there: who is killed before `keep` knows whose that is."""
        self._write(recording, {"film": True}, ())

    def keep(self, recording: Path, part: Part, filmed: bool) -> None:
        """Write it down, whole or not at all, and whether there is a film."""
        about = {
            "film": filmed,
            "skipped": part.skipped,
            "problems": part.problems,
            "clips": _clips_digest(part.lines),
        }
        self._write(recording, about, part.lines)

    def kept(self, recording: Path) -> Part | None:
        """A recording's; None if there is none that still holds."""
        head, lines = _read(self.file(recording))
        made_of = {name: head.get(name) for name in self._made_of[recording]}
        # Another process may have looked later, and cut what was corrected meanwhile.
        if made_of != self._made_of[recording] and made_of != self._look(recording):
            return None
        # A disk may have lost its end, or a part be of an earlier version, or only begun.
        if head.get("clips") != _clips_digest(lines):
            return None
        return Part(lines, head["skipped"], tuple(head["problems"]))

    def all(self) -> dict[Path, Part] | None:
        """Those of all recordings, in their order; None if one is not there yet."""
        found = {path: part for path in self._made_of if (part := self.kept(path))}
        return found if len(found) == len(self._made_of) else None

    def others(self) -> list[str]:
        """Names of those that have clips here and are none of these recordings."""
        names = {path.stem for path in self._parts()} - {*map(name_of, self._made_of)}
        return sorted(name for name in names if _read(self._named(name))[1])

    def film_is_of(self, recording: Path) -> bool:
        """Whether a part says that the film shows this recording, with these frames."""
        head = _head(self.file(recording))
        return bool(head.get("film")) and head.get("seen") == self._made_of[recording]["seen"]

    def film_is_ours(self, recording: Path) -> bool:
        """Whether a part says that a film of its name is there, whatever that shows."""
        return bool(_head(self.file(recording)).get("film"))

    def part_is_ours(self, recording: Path) -> bool:
        """Whether the file in the place of its part is one, whatever that was made of."""
        return "seen" in _head(self.file(recording))

    def any_is_ours(self) -> bool:
        """Whether an export has left a part here."""
        return any("seen" in _head(file) for file in self._parts())

    def file(self, recording: Path) -> Path:
        """Where its part stands."""
        return self._named(name_of(recording))

    def _named(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    def _parts(self) -> Iterator[Path]:
        return self._folder.glob("*.jsonl")

    def _write(self, recording: Path, about: dict[str, Any], lines: Sequence[str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        head = {**self._made_of[recording], **about}
        write_text(self.file(recording), "\n".join([json.dumps(head), *lines]))

    def _look(self, recording: Path) -> dict[str, Any]:
        return {"seen": self._seen(recording), "said": self._said(recording)}

    def _seen(self, recording: Path) -> dict[str, Any]:
        """What the film rests on."""
        return {
            "recording": str(recording.absolute()),
            "camera": self._cameras[recording],
            "files": [_stat(path) for path in _files(recording)],
            "frames": asdict(self._settings.frames),
        }

    def _said(self, recording: Path) -> dict[str, Any]:
        """What the clips rest on beside that."""
        return {
            "beside": [_digest(file) for file in places_beside(recording)],
            "cut": asdict(self._config),
            "window": asdict(self._settings.window),
            "prompt": asdict(self._settings.prompt),
        }


def _read(file: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a part was made of, and its clips; nothing of what is no part."""
    try:
        # Not splitlines: U+2028 and its like are text in JSON.
        first, *lines = file.read_text(encoding="utf-8").split("\n")
        head = _parsed(first)
    except (OSError, ValueError):
        return {}, ()
    return head, tuple(lines)


def _head(file: Path) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8") as part:
            return _parsed(part.readline())
    except (OSError, ValueError):
        return {}


def _parsed(line: str) -> dict[str, Any]:
    head = json.loads(line)
    if not isinstance(head, dict):
        raise ValueError(f"no object: {line}")
    return head


def _files(recording: Path) -> list[Path]:
    """A video, or the files of a bag that hold messages: kept clips have others beside them.

    Empty where they can't be listed: what cuts them says why.
    """
    if not recording.is_dir():
        return [recording]
    try:
        return sorted(path for path in recording.iterdir() if path.name.endswith(STORAGES))
    except OSError:
        return []


def _stat(file: Path) -> list[int] | str | None:
    """Bytes and time of change, as raw images have as many bytes whatever they show; or why not."""
    try:
        stat = file.stat()
    except OSError as error:
        return error.strerror
    return [stat.st_size, stat.st_mtime_ns]


def _digest(file: Path) -> str | None:
    """Of what is in it; or why that can't be read, as where there is no file."""
    try:
        return sha256_of([file])[:16]
    except OSError as error:
        return error.strerror


def _clips_digest(lines: Sequence[str]) -> str:
    # As they are written.
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()[:16]
