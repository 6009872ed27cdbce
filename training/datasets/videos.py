"""Where the videos of a data set are."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from streamingvlm_ros.errors import DataError


class Videos:
    """Finds videos below a folder, by the path that a data set gives or by their name alone.

    Published data sets name videos by paths of their makers' disks, or were flattened into one
    folder. A name that several videos have is nobody's: the published way to flatten lets one
    overwrite the other, and then words stand beside the wrong pictures.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.names: dict[Path, set[str]] = {}
        """The names that each video was found by."""

    def find(self, name: str) -> Path:
        """The video's path. DataError if there is none, or if it could be several."""
        given = Path(name)
        own = self._root / given
        if own.exists():
            # Files in other folders may give the same path from there.
            return self._noted(own, str(own))
        flat = self._root / given.name
        if flat.exists():
            return self._noted(flat, name)
        found = self._by_name.get(given.name, [])
        alike = [path for path in found if path.parts[-2:] == given.parts[-2:]] or found
        if len(alike) == 1:
            return self._noted(alike[0], name)
        if not alike:
            raise DataError(f"there is no video {name} below {self._root}")
        raise DataError(
            f"{name} could be any of {', '.join(map(str, alike[:3]))}: keep the folders as they "
            "were published"
        )

    def _noted(self, path: Path, name: str) -> Path:
        self.names.setdefault(path, set()).add(name)
        return path

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for folder, _, files in os.walk(self._root, followlinks=True):
            for file in sorted(files):
                found.setdefault(file, []).append(Path(folder, file))
        return found
