"""What an export has made of each recording, a file for each.

With them an export is gone on with, and shared by processes that know nothing of each other. A
part is a line that says what it was made of, then its clips as they stand in the file that all
parts become.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamingvlm_ros.bags.files import STORAGES
from streamingvlm_ros.config import Settings
from streamingvlm_ros.drafts import write_whole
from streamingvlm_ros.recordings.folder import name_of, questions_beside, words_beside

from .cutting import CutConfig


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of clips and what to look at, or why there are none."""

    lines: tuple[str, ...]
    skipped: str = ""
    problems: tuple[str, ...] = ()


class Parts:
    """Parts in a folder: only those of the same recordings, words and settings are taken."""

    def __init__(self, folder: Path, settings: Settings, config: CutConfig) -> None:
        self._folder, self._settings, self._config = folder, settings, config

    def keep(self, recording: Path, part: Part) -> None:
        """Write it down, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        head = {
            **self._made_of(recording),
            "skipped": part.skipped,
            "problems": part.problems,
            "clips": _clips_digest(part.lines),
        }
        write_whole(self._file(recording), "\n".join([json.dumps(head), *part.lines]))

    def kept(self, recording: Path) -> Part | None:
        """A recording's; None if there is none that still holds."""
        head, lines = self._read(self._file(recording))
        if any(head.get(name) != its for name, its in self._made_of(recording).items()):
            return None
        # A disk may have lost its end, or a part be of an earlier version.
        if head.get("clips") != _clips_digest(lines):
            return None
        return Part(lines, head["skipped"], tuple(head["problems"]))

    def all_of(self, recordings: Sequence[Path]) -> dict[Path, Part] | None:
        """Theirs, in their order; None if one is not there yet."""
        found = {path: part for path in recordings if (part := self.kept(path))}
        return found if len(found) == len(recordings) else None

    def others(self, recordings: Sequence[Path]) -> list[str]:
        """Names of those that have clips here and are none of these recordings."""
        names = {path.stem for path in self._folder.glob("*.jsonl")} - {*map(name_of, recordings)}
        return sorted(name for name in names if self._read(self._named(name))[1])

    def knows_film(self, recording: Path) -> bool:
        """Whether a part says that the film shows this recording, with these frames."""
        head, _ = self._read(self._file(recording))
        return head.get("seen") == self._seen(recording)

    def _file(self, recording: Path) -> Path:
        return self._named(name_of(recording))

    def _named(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    def _read(self, file: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
        try:
            # Not splitlines: U+2028 and its like are text in JSON.
            first, *lines = file.read_text(encoding="utf-8").split("\n")
            head = json.loads(first)
        except (OSError, ValueError):
            return {}, ()
        return (head, tuple(lines)) if isinstance(head, dict) else ({}, ())

    def _made_of(self, recording: Path) -> dict[str, Any]:
        return {"seen": self._seen(recording), "said": self._said(recording)}

    def _seen(self, recording: Path) -> dict[str, Any]:
        """What the film rests on."""
        stats = [path.stat() for path in sorted(_files(recording))]
        return {
            "recording": str(recording.absolute()),
            "bytes": sum(its.st_size for its in stats),
            # Raw images have as many bytes whatever they show.
            "mtimes_ns": [its.st_mtime_ns for its in stats],
            "frames": asdict(self._settings.frames),
        }

    def _said(self, recording: Path) -> dict[str, Any]:
        """What the clips rest on beside that."""
        return {
            "words": _digest(words_beside(recording)),
            "questions": _digest(questions_beside(recording)),
            "cut": asdict(self._config),
            "window": asdict(self._settings.window),
            "prompt": asdict(self._settings.prompt),
        }


def _files(recording: Path) -> Iterator[Path]:
    """A video, or the files of a bag that hold messages: kept clips have others beside them."""
    if recording.is_file():
        yield recording
    elif recording.is_dir():
        yield from (path for path in recording.iterdir() if path.name.endswith(STORAGES))


def _digest(file: Path | None) -> str | None:
    return _digest_of(file.read_bytes()) if file else None


def _clips_digest(lines: Sequence[str]) -> str:
    # As they are written.
    return _digest_of("\n".join(lines).encode(errors="replace"))


def _digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
