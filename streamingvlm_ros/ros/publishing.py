"""Publishing when DDS can't take a message: that message is dropped, and nothing else happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.logging import get_logger

_TIMEOUT_ERROR = "cannot publish data"
"""Start of rmw's error when DDS did not take a message in time: a subscriber was killed or hangs,
or the machine is busy (rmw_fastrtps #310, #338)."""


@contextmanager
def drop_on_timeout() -> Iterator[None]:
    """Drop a message that DDS does not take in time, with a warning.

    Other errors are raised; rclpy uses RuntimeError for all of them.
    """
    try:
        yield
    except RuntimeError as error:
        if _TIMEOUT_ERROR not in str(error):
            raise
        get_logger("publishing").warning(f"dropped a message: {error}")
