"""What a command says where ROS is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import StreamingVLMError


@contextmanager
def needing_ros(what: str) -> Iterator[None]:
    """For imports that `what` needs. StreamingVLMError where ROS or our interfaces are missing."""
    try:
        yield
    except ImportError as error:
        raise StreamingVLMError(
            f"{what} needs ROS 2 and this package's interfaces ({error}): `streamingvlm doctor` "
            "says what to do"
        ) from error
