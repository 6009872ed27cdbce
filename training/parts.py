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
    """Lines of clips, or why there are none."""

    lines: tuple[str, ...]
    skipped: str = ""


class Parts:
    """Parts in a folder: only those of the same recordings, words and settings are taken."""

    def __init__(self, folder: Path, settings: Settings, config: CutConfig) -> None:
        self._folder, self._settings, self._config = folder, settings, config

    def keep(self, recording: Path, part: Part) -> None:
        """Write it down, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        head = json.dumps({**self._made_of(recording), "skipped": part.skipped})
        write_whole(self._file(recording), "\n".join([head, *part.lines]))

    def kept(self, recording: Path) -> Part | None:
        """A recording's; None if there is none that still holds."""
        head, lines = self._read(recording)
        if any(head.get(name) != its for name, its in self._made_of(recording).items()):
            return None
        return Part(lines, head.get("skipped", ""))

    def all_of(self, recordings: Sequence[Path]) -> dict[Path, Part] | None:
        """Theirs, in their order; None if one is not there yet."""
        found = {path: part for path in recordings if (part := self.kept(path))}
        return found if len(found) == len(recordings) else None

    def knows_film(self, recording: Path) -> bool:
        """Whether a part says that the film shows this recording, with these frames."""
        head, _ = self._read(recording)
        return head.get("seen") == self._seen(recording)

    def _file(self, recording: Path) -> Path:
        return self._folder / f"{name_of(recording)}.jsonl"

    def _read(self, recording: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
        try:
            # Not splitlines: U+2028 and its like are text in JSON.
            first, *lines = self._file(recording).read_text(encoding="utf-8").split("\n")
            head = json.loads(first)
        except (OSError, ValueError):
            return {}, ()
        return (head, tuple(lines)) if isinstance(head, dict) else ({}, ())

    def _made_of(self, recording: Path) -> dict[str, Any]:
        return {"seen": self._seen(recording), "said": self._said(recording)}

    def _seen(self, recording: Path) -> dict[str, Any]:
        """What the film rests on."""
        return {
            "recording": str(recording.absolute()),
            "bytes": sum(path.stat().st_size for path in _files(recording)),
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
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file else None
