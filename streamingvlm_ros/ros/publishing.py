"""What DDS doesn't take: a message is lost then, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.logging import get_logger

REFUSED = "cannot publish data"
"""How rmw's error begins when DDS did not take a message in time: a subscriber was killed or hangs,
or the machine is busy (rmw_fastrtps #310, #338)."""


@contextmanager
def drop_on_timeout() -> Iterator[None]:
    """Go on when a message is refused, with a warning. What else goes wrong raises.

    rclpy raises a RuntimeError for both.
    """
    try:
        yield
    except RuntimeError as error:
        if REFUSED not in str(error):
            raise
        get_logger("delivery").warning(f"a message is lost: {error}")
