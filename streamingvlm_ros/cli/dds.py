"""The Fast DDS profile. Without it most images between two processes are lost."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"

_PACKAGE = Path(__file__).parent.parent


def packaged_profile() -> Path | None:
    """The profile that comes with this package: in the source tree, or where it is installed."""
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    installed = [Path(prefix) / "share" / _PACKAGE.name for prefix in prefixes if prefix]
    candidates = [folder / "config" / "fastdds.xml" for folder in (_PACKAGE.parent, *installed)]
    return next((path for path in candidates if path.is_file()), None)


def use_packaged_profile() -> None:
    """Put the profile in force for this process and those it starts, unless the user chose one.

    Must run before rclpy is initialised.
    """
    profile = packaged_profile()
    if profile is not None:
        os.environ.setdefault(PROFILE_VARIABLE, str(profile))
