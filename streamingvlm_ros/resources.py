"""Files of the package that are not modules: config/, msg/."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path | None:
    """Return the path of a file or folder, in the checkout or as installed; None if missing."""
    root = _PACKAGE.parent
    checkout = [root] if (root / "package.xml").is_file() else []
    # pip and colcon put share/ and the modules below one prefix. It is sys.prefix only in a venv:
    # `pip install --user`, --prefix, --target and Ubuntu's /usr/local have prefixes of their own.
    prefixes = [*_PACKAGE.parents, *_ros_prefixes()]
    installed = [prefix / "share" / _PACKAGE.name for prefix in prefixes]
    candidates = [folder / name for folder in (*checkout, *installed)]
    return next((path for path in candidates if path.exists()), None)


def _ros_prefixes() -> list[Path]:
    """Return the sourced ROS workspaces, in case the modules are imported from somewhere else."""
    return [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
