"""Image messages to arrays and back, and stamps to nanoseconds."""

from __future__ import annotations

import io
from array import array
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import PIL.Image
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from .. import types
from ..errors import ImageError
from ..types import NS_PER_S

RGB_CHANNELS = {
    "rgb8": (3, [0, 1, 2]),
    "8UC3": (3, [2, 1, 0]),  # OpenCV's own order, as cv_bridge has it
    "bgr8": (3, [2, 1, 0]),
    "rgba8": (4, [0, 1, 2]),
    "bgra8": (4, [2, 1, 0]),
    "8UC4": (4, [2, 1, 0]),
    "mono8": (1, [0, 0, 0]),
    "8UC1": (1, [0, 0, 0]),
}
"""Encodings that need no arithmetic: bytes per pixel, and where red, green and blue are."""

CONVERTED_BYTES = {
    "mono16": 2,
    "rgb16": 6,
    "bgr16": 6,
    "rgba16": 8,
    "bgra16": 8,
    "yuv422": 2,
    "uyvy": 2,
    "yuv422_yuy2": 2,
    "yuyv": 2,
    **{f"bayer_{order}8": 1 for order in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{order}16": 2 for order in ("rggb", "bggr", "gbrg", "grbg")},
}
"""Encodings that cv_bridge or rosbags-image convert: bytes per pixel."""

COMPRESSED_FORMATS = ("JPEG", "PNG")


class BadImageError(ImageError):
    """An image message that can't be used. `reason` is one word, by which they are counted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def check(message: Image | CompressedImage) -> None:
    """Raise BadImageError for what can be seen without touching a pixel."""
    if to_ns(message.header.stamp) == 0:
        raise BadImageError("stamp", "an image has no time stamp: the camera's driver must set it")
    if isinstance(message, CompressedImage):
        if not message.data:
            raise BadImageError("size", "a compressed image is empty")
        return
    pixel = _bytes_per_pixel(message.encoding)
    height, width, step, data = message.height, message.width, message.step, len(message.data)
    if not height or not width:
        raise BadImageError("size", f"an image is {width}x{height} px: it has no pixels")
    if step < width * pixel:
        raise BadImageError(
            "step",
            f"an image's step is {step} bytes, but {width} px in {message.encoding} take "
            f"{width * pixel}",
        )
    if data < step * (height - 1) + width * pixel:
        raise BadImageError("size", f"an image has {data} bytes, but {height} rows of {step} bytes")


def to_array(message: Image | CompressedImage) -> types.Image:
    """The picture as (height, width, 3) uint8 RGB of its own. BadImageError if it can't be read."""
    check(message)
    if isinstance(message, CompressedImage):
        return _decompressed(message)
    if message.encoding in RGB_CHANNELS:
        channels, order = RGB_CHANNELS[message.encoding]
        picture = _rows(message, channels).reshape(message.height, message.width, channels)
        return np.ascontiguousarray(picture[..., order])
    return _converted(message)


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


def _bytes_per_pixel(encoding: str) -> int:
    if encoding in RGB_CHANNELS:
        return RGB_CHANNELS[encoding][0]
    if encoding in CONVERTED_BYTES:
        return CONVERTED_BYTES[encoding]
    known = ", ".join([*RGB_CHANNELS, *CONVERTED_BYTES])
    raise BadImageError(
        "encoding", f"the encoding {encoding!r} is not a colour or grey picture; known: {known}"
    )


def _rows(message: Image, pixel: int) -> NDArray[np.uint8]:
    """(height, width * bytes per pixel) bytes without what pads the rows. The last may be short."""
    used = message.width * pixel
    buffer = np.frombuffer(message.data, np.uint8)
    return np.lib.stride_tricks.as_strided(
        buffer, (message.height, used), (message.step, 1), writeable=False
    )


def _converted(message: Image) -> types.Image:
    rows = _rows(message, CONVERTED_BYTES[message.encoding])
    packed = Image(
        encoding=message.encoding,
        height=message.height,
        width=message.width,
        step=rows.shape[1],
        is_bigendian=message.is_bigendian,
        data=array("B", rows.tobytes()),
    )
    import cv2  # not with the others: most cameras never need it

    try:
        return np.ascontiguousarray(_converter()(packed), np.uint8)
    except (cv2.error, TypeError, ValueError) as error:
        raise BadImageError("encoding", f"can't convert {message.encoding}: {error}") from error


@cache
def _converter() -> Callable[[Image], Any]:
    """What turns the less common encodings into rgb8: a ROS installation's own, or the wheel's."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        from rosbags.image import message_to_cvimage

        return lambda message: message_to_cvimage(message, "rgb8")
    return lambda message: CvBridge().imgmsg_to_cv2(message, "rgb8")


def _decompressed(message: CompressedImage) -> types.Image:
    packed = io.BytesIO(message.data)
    try:
        with PIL.Image.open(packed, formats=COMPRESSED_FORMATS) as picture:
            if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to white
                return np.stack([(np.array(picture) >> 8).astype(np.uint8)] * 3, axis=-1)
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise BadImageError(
            "compressed", f"a compressed image ({message.format}) can't be read: {error}"
        ) from error
