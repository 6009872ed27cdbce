"""Files of the package that are not modules: config/, msg/."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path | None:
    """Return the path of a file or folder, in the checkout or as installed; None if missing."""
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    installed = [Path(prefix, "share", _PACKAGE.name) for prefix in prefixes if prefix]
    candidates = [folder / name for folder in (_PACKAGE.parent, *installed)]
    return next((path for path in candidates if path.exists()), None)
