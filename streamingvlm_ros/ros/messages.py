"""Values of this package as ROS messages, and publishing them."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

import PIL.Image
from builtin_interfaces.msg import Time
from rclpy.logging import get_logger
from sensor_msgs.msg import CompressedImage, Image

from streamingvlm_ros.msg import Narration

from .. import types
from ..types import NS_PER_S

_TIMEOUT_ERROR = "cannot publish data"
"""Start of rmw's error when DDS did not take a message in time: a subscriber was killed or hangs,
or the machine is busy (rmw_fastrtps #310, #338)."""


def to_time(stamp_ns: int) -> Time:
    """Return nanoseconds as a stamp."""
    return Time(sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)


def image_message(image: types.Image, stamp_ns: int, *, frame_id: str) -> Image:
    """Return an rgb8 message of a (height, width, 3) uint8 image."""
    message = Image(encoding="rgb8", height=image.shape[0], width=image.shape[1])
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame_id
    message.step = 3 * message.width
    # rclpy takes an array.array as it is, but copies an ndarray element by element, which is a
    # thousand times slower.
    message.data = array("B", image.tobytes())
    return message


def compressed_image_message(
    image: types.Image, stamp_ns: int, *, frame_id: str
) -> CompressedImage:
    """Return a JPEG message of a (height, width, 3) uint8 image."""
    message = CompressedImage(format="jpeg")
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame_id
    jpeg = io.BytesIO()
    PIL.Image.fromarray(image).save(jpeg, "JPEG", quality=90)
    message.data = array("B", jpeg.getvalue())
    return message


def narration_message(narration: types.Narration, *, latency_s: float = 0.0) -> Narration:
    """Return a narration as a message; `latency_s` counts from its newest frame's stamp."""
    message = Narration(
        start=to_time(narration.start_ns),
        end=to_time(narration.end_ns),
        text=narration.text,
        silent=not narration.text,
        sequence=narration.sequence,
        frames=narration.frames,
        dropped=narration.dropped,
        latency=latency_s,
    )
    message.header.stamp = to_time(narration.newest_ns)
    message.header.frame_id = narration.frame_id
    return message


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
