"""Pictures to image messages, and stamps to nanoseconds and back."""

from __future__ import annotations

import io
from array import array

import PIL.Image
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from .. import types
from ..types import NS_PER_S


def to_message(image: types.Image, stamp_ns: int, frame_id: str) -> Image:
    """An rgb8 message of a (height, width, 3) uint8 picture."""
    message = Image(encoding="rgb8", height=image.shape[0], width=image.shape[1])
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame_id
    message.step = 3 * message.width
    # An array.array is taken over as it is; an ndarray would be copied element by element,
    # a thousand times slower.
    message.data = array("B", image.tobytes())
    return message


def to_compressed(image: types.Image, stamp_ns: int, frame_id: str) -> CompressedImage:
    """A JPEG message of a (height, width, 3) uint8 picture."""
    message = CompressedImage(format="jpeg")
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame_id
    packed = io.BytesIO()
    PIL.Image.fromarray(image).save(packed, "JPEG", quality=90)
    message.data = array("B", packed.getvalue())
    return message


def to_ns(stamp: Time) -> int:
    """A stamp in nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def to_time(stamp_ns: int) -> Time:
    """Nanoseconds as a stamp."""
    return Time(sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)
