"""The Fast DDS profile. Without it most images between two processes are lost."""

from __future__ import annotations

import os

from ..resources import resource

PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
PROFILE = "config/fastdds.xml"


def use_packaged_profile() -> None:
    """Put the profile in force for this process and those it starts, unless the user chose one.

    Must run before rclpy is initialised.
    """
    profile = resource(PROFILE)
    if profile is not None:
        os.environ.setdefault(PROFILE_VARIABLE, str(profile))
