"""Decoding of image messages from topics and from bags, which have the same fields."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from ..errors import ImageError
from ..types import Frame, Image, Stamp, to_ns

RGB_CHANNELS = {
    "rgb8": (3, None),
    "8UC3": (3, "COLOR_BGR2RGB"),  # OpenCV's own order, as cv_bridge has it
    "bgr8": (3, "COLOR_BGR2RGB"),
    "rgba8": (4, "COLOR_RGBA2RGB"),
    "bgra8": (4, "COLOR_BGRA2RGB"),
    "8UC4": (4, "COLOR_BGRA2RGB"),
    "mono8": (1, "COLOR_GRAY2RGB"),
    "8UC1": (1, "COLOR_GRAY2RGB"),
}
"""Encodings that need no arithmetic: bytes per pixel, and OpenCV's name for the reordering."""

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

PLANAR_420 = {
    "nv12": "COLOR_YUV2RGB_NV12",
    "nv21": "COLOR_YUV2RGB_NV21",
    "yuv420": "COLOR_YUV2RGB_I420",
    "i420": "COLOR_YUV2RGB_I420",
}
"""Encodings with a plane of brightness and half as many bytes of colour, and OpenCV's names."""

_MEASUREMENTS = re.compile(r"16UC1?|(8S|16S|32S|32F|64F)C\d*")
"""Encodings of numbers that are no brightness, such as depth in millimetres or metres."""

COMPRESSED_FORMATS = ("JPEG", "PNG")


class Header(Protocol):
    """std_msgs/Header."""

    stamp: Stamp
    frame_id: str


class RawPicture(Protocol):
    """sensor_msgs/Image."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


@runtime_checkable
class CompressedPicture(Protocol):
    """sensor_msgs/CompressedImage."""

    header: Header
    format: str
    data: Any


Picture: TypeAlias = RawPicture | CompressedPicture


class BadImageError(ImageError):
    """An image message that can't be used. `reason` is the one word under which it is counted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Packed:
    """A raw picture without padding of its rows, with the fields of a message."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: bytes


def stamp_ns_of(message: Picture) -> int:
    """Return the stamp of an image."""
    return to_ns(message.header.stamp)


def check(message: Picture) -> None:
    """Check a message without decoding it.

    Raises:
        BadImageError: it has no stamp, no pixels, too few bytes, or isn't a picture.
    """
    if stamp_ns_of(message) == 0:
        raise BadImageError("stamp", "an image has no time stamp: the camera's driver must set it")
    if isinstance(message, CompressedPicture):
        if not len(message.data):
            raise BadImageError("size", "a compressed image is empty")
        # image_transport puts the encoding first: "16UC1; png compressed ".
        _refuse_measurements(message.format.partition(";")[0].strip())
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
    rows = height
    if message.encoding in PLANAR_420:
        if height % 2 or step % 2:
            raise BadImageError(
                "size", f"an image of {height} rows of {step} bytes can't be {message.encoding}"
            )
        rows += height // 2
    if data < step * (rows - 1) + width * pixel:
        raise BadImageError("size", f"an image has {data} bytes, but {rows} rows of {step} bytes")


def to_array(message: Picture) -> Image:
    """Decode to a new (height, width, 3) uint8 RGB array.

    Raises:
        BadImageError: the image can't be decoded.
    """
    check(message)
    if isinstance(message, CompressedPicture):
        return _decompressed(message)
    if message.encoding in RGB_CHANNELS:
        channels, reordering = RGB_CHANNELS[message.encoding]
        return _reordered(message, channels, reordering=reordering)
    if message.encoding in PLANAR_420:
        return _from_planes(message)
    return _converted(message)


def to_frame(message: Picture) -> Frame:
    """Decode to a frame. BadImageError if the image can't be decoded."""
    return Frame(to_array(message), stamp_ns_of(message), message.header.frame_id)


def to_frames(
    messages: Sequence[tuple[int, Picture]], reject: Callable[[BadImageError], None]
) -> tuple[Frame, ...]:
    """Decode (stamp in ns, message) pairs to frames of the newest one's size; `reject` others."""
    frames: list[Frame] = []
    # Newest first: its size is the one that counts.
    for stamp_ns, message in reversed(messages):
        try:
            image = to_array(message)
            if frames and image.shape != frames[0].image.shape:
                raise BadImageError("changed", "the pictures' size changed from one to the next")
        except BadImageError as error:
            reject(error)
        else:
            frames.insert(0, Frame(image, stamp_ns, message.header.frame_id))
    return tuple(frames)


def _bytes_per_pixel(encoding: str) -> int:
    if encoding in RGB_CHANNELS:
        return RGB_CHANNELS[encoding][0]
    if encoding in CONVERTED_BYTES:
        return CONVERTED_BYTES[encoding]
    if encoding in PLANAR_420:
        return 1
    _refuse_measurements(encoding)
    known = ", ".join([*RGB_CHANNELS, *CONVERTED_BYTES, *PLANAR_420])
    raise BadImageError(
        "encoding",
        f"the encoding {encoding!r} can't be read; set the camera's driver to one of: {known}",
    )


def _refuse_measurements(encoding: str) -> None:
    if _MEASUREMENTS.fullmatch(encoding):
        raise BadImageError(
            "encoding",
            f"the encoding {encoding!r} holds measurements such as depth, not a picture; choose "
            "the topic of a colour or grey camera",
        )


def _pixels(message: RawPicture, pixel: int) -> NDArray[np.uint8]:
    """Return the message's bytes as (height, width, bytes per pixel), without row padding.

    The last row may be short.
    """
    return np.lib.stride_tricks.as_strided(
        np.frombuffer(message.data, np.uint8),
        (message.height, message.width, pixel),
        (message.step, pixel, 1),
        writeable=False,
    )


def _reordered(message: RawPicture, channels: int, *, reordering: str | None) -> Image:
    """Reorder channels in one pass. numpy takes 10 to 60 times as long."""
    pixels = _pixels(message, channels)
    if reordering is None:
        return pixels.copy()
    import cv2  # not with the others: rgb8 and compressed images need none

    return np.asarray(cv2.cvtColor(pixels, getattr(cv2, reordering)), np.uint8)


def _from_planes(message: RawPicture) -> Image:
    """Convert planes of brightness and colour; padding is converted with them and then cut off."""
    rows = message.height * 3 // 2
    planes = np.zeros(rows * message.step, np.uint8)
    data = np.frombuffer(message.data, np.uint8)[: planes.size]
    planes[: data.size] = data  # the last row may be short
    import cv2

    image = cv2.cvtColor(
        planes.reshape(rows, message.step), getattr(cv2, PLANAR_420[message.encoding])
    )
    return np.ascontiguousarray(image[:, : message.width], np.uint8)


def _converted(message: RawPicture) -> Image:
    pixel = CONVERTED_BYTES[message.encoding]
    packed = _Packed(
        message.height,
        message.width,
        message.encoding,
        message.is_bigendian,
        message.width * pixel,
        _pixels(message, pixel).tobytes(),
    )
    import cv2

    try:
        converted = _converter()(packed)
    except (cv2.error, TypeError, ValueError) as error:
        raise BadImageError("encoding", f"can't convert {message.encoding}: {error}") from error
    return np.ascontiguousarray(converted, np.uint8)


@cache
def _converter() -> Callable[[Any], Any]:
    """Return the converter of less common encodings to rgb8: cv_bridge, or rosbags-image.

    ROS's cv_bridge fails where pip has installed another numpy or OpenCV, and some builds fail at
    the first conversion only. Therefore one pixel is converted before cv_bridge is chosen.
    """
    from rosbags.image import message_to_cvimage

    try:
        from cv_bridge import CvBridge

        convert = partial(CvBridge().imgmsg_to_cv2, desired_encoding="rgb8")
        convert(_Packed(1, 1, "mono16", 0, 2, bytes(2)))
    except Exception:  # A module for another numpy may raise anything.
        return lambda message: message_to_cvimage(message, "rgb8")
    return convert


def _decompressed(message: CompressedPicture) -> Image:
    packed = io.BytesIO(message.data)
    try:
        with PIL.Image.open(packed, formats=COMPRESSED_FORMATS) as picture:
            if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to white
                return np.stack([(np.array(picture) >> 8).astype(np.uint8)] * 3, axis=-1)
            return np.array(picture.convert("RGB"))
    except PIL.UnidentifiedImageError as error:
        raise BadImageError(
            "compressed", f"a compressed image ({message.format}) can't be read: no JPEG, no PNG"
        ) from error
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise BadImageError(
            "compressed", f"a compressed image ({message.format}) can't be read: {error}"
        ) from error
