"""The search for the videos of a data set."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from streamingvlm_ros.errors import DataError


class Videos:
    """Finds videos below a folder by their paths in a data set, or by their names alone.

    Published data sets contain paths of their authors' disks, or were flattened into one folder. A
    name that several videos have is rejected: the published way to flatten folders lets one
    overwrite the other, and then the words belong to other pictures.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.names: dict[Path, set[str]] = {}
        """The names under which the data set has each video."""

    def find(self, name: str) -> Path:
        """Return the path of a video. DataError if there is none, or if it could be several."""
        path = Path(name)
        own = self._root / path
        if own.exists():
            # Files in other folders may have the same path relative to those.
            return self._record(own, str(own))
        flat = self._root / path.name
        if flat.exists():
            return self._record(flat, name)
        same_name = self._by_name.get(path.name, [])
        same_folder = [match for match in same_name if match.parts[-2:] == path.parts[-2:]]
        matches = same_folder or same_name
        if len(matches) == 1:
            return self._record(matches[0], name)
        if not matches:
            raise DataError(f"there is no video {name} below {self._root}")
        raise DataError(
            f"{name} could be any of {', '.join(map(str, matches[:3]))}: keep the folders as they "
            "were published"
        )

    def _record(self, path: Path, name: str) -> Path:
        self.names.setdefault(path, set()).add(name)
        return path

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        paths: dict[str, list[Path]] = {}
        for folder, _, files in os.walk(self._root, followlinks=True):
            for file in sorted(files):
                paths.setdefault(file, []).append(Path(folder, file))
        return paths
