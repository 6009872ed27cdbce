"""Preparation of commands that use ROS: the Fast DDS profile, rclpy and our interfaces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import StreamingVLMError
from ..resources import resource

PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
PROFILE = "config/fastdds.xml"


def use_packaged_profile() -> None:
    """Select our Fast DDS profile for this process and its children, unless the user chose one.

    Without it most images between two processes are lost. Call before rclpy is initialised.
    """
    profile = resource(PROFILE)
    if profile is not None:
        os.environ.setdefault(PROFILE_VARIABLE, str(profile))


@contextmanager
def require_ros(feature: str) -> Iterator[None]:
    """Guard the ROS imports of `feature`.

    Raises:
        StreamingVLMError: rclpy or this package's interfaces can't be imported.
    """
    try:
        yield
    except ImportError as error:
        raise StreamingVLMError(
            f"{feature} needs ROS 2 and this package's interfaces ({error}); "
            "run `streamingvlm doctor` to see what to do"
        ) from error
