"""Image messages in unusual encodings: pictures are decoded, measurements are refused."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from streamingvlm_ros.frames.image_decoding import BadImageError, check, to_array


@dataclass
class Time:
    sec: int = 1
    nanosec: int = 0


@dataclass
class Header:
    stamp: Time = field(default_factory=Time)
    frame_id: str = "camera"


@dataclass
class Raw:
    height: int
    width: int
    encoding: str
    step: int
    data: Any
    is_bigendian: int = 0
    header: Header = field(default_factory=Header)


@dataclass
class Compressed:
    format: str
    data: Any
    header: Header = field(default_factory=Header)


HALVES = np.zeros((8, 16, 3), np.uint8)
"""Red on the left, blue on the right."""
HALVES[:, :8], HALVES[:, 8:] = (200, 30, 30), (30, 30, 200)


def planes(encoding: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture in rows of 16 bytes: 8 of brightness, 4 of colour."""
    i420 = np.asarray(cv2.cvtColor(HALVES, cv2.COLOR_RGB2YUV_I420), np.uint8)
    if encoding in ("yuv420", "i420"):
        return i420
    brightness, colours = i420[:8], i420[8:].reshape(2, 4, 8)
    pairs = colours if encoding == "nv12" else colours[::-1]
    return np.vstack([brightness, np.stack(list(pairs), axis=-1).reshape(4, 16)])


@pytest.mark.parametrize("encoding", ["nv12", "nv21", "yuv420", "i420"])
def test_pictures_in_planes_have_their_colours(encoding: str) -> None:
    message = Raw(8, 16, encoding, 16, planes(encoding).tobytes())
    image = to_array(message)
    assert image.shape == (8, 16, 3)
    assert np.abs(image.astype(int) - HALVES)[:, [2, 13]].max() < 12


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
@pytest.mark.parametrize("cut", [0, 8])
def test_padding_of_planes_is_cut_off(encoding: str, cut: int) -> None:
    padded = np.hstack([planes(encoding), np.full((12, 8), 255, np.uint8)]).tobytes()
    padded = padded[: len(padded) - cut]  # a driver may leave out the last row's padding
    whole = to_array(Raw(8, 16, encoding, 16, planes(encoding).tobytes()))
    assert np.array_equal(to_array(Raw(8, 16, encoding, 24, padded)), whole)


@pytest.mark.parametrize(
    ("height", "width", "step", "size", "reason"),
    [
        (8, 16, 16, 191, "has 191 bytes, but 12 rows of 16 bytes"),
        (8, 16, 8, 192, "step is 8 bytes, but 16 px in nv21 take 16"),
        (7, 16, 16, 192, "7 rows of 16 bytes can't be nv21"),
        (8, 15, 15, 192, "8 rows of 15 bytes can't be nv21"),
    ],
)
def test_planes_of_impossible_sizes_are_refused(
    height: int, width: int, step: int, size: int, reason: str
) -> None:
    with pytest.raises(BadImageError, match=reason):
        check(Raw(height, width, "nv21", step, bytes(size)))


@pytest.mark.parametrize("encoding", ["16UC1", "16SC1", "32FC1", "32SC2", "64FC1", "8SC1"])
def test_measurements_are_no_picture(encoding: str) -> None:
    with pytest.raises(BadImageError, match=f"'{encoding}' holds measurements such as depth"):
        check(Raw(8, 16, encoding, 128, bytes(1024)))


@pytest.mark.parametrize("encoding", ["nv24", "yuv444", "16UC3", "8UC2", "h264", ""])
def test_other_pictures_are_not_called_measurements(encoding: str) -> None:
    with pytest.raises(
        BadImageError, match=f"'{encoding}' can't be read; set the camera"
    ) as caught:
        check(Raw(8, 16, encoding, 128, bytes(1024)))
    assert caught.value.reason == "encoding"
    assert "nv12" in str(caught.value)


def png(bits: int) -> bytes:
    packed = io.BytesIO()
    values = np.full((8, 16), 40 << (bits - 8), np.uint16 if bits == 16 else np.uint8)
    PIL.Image.fromarray(values).save(packed, "PNG")
    return packed.getvalue()


@pytest.mark.parametrize(
    "format",
    [
        "16UC1; png compressed ",
        "16UC1; compressedDepth png",
        "32FC1; compressedDepth png",
        "16UC1;png",
        "16SC1; png compressed 16SC1",
        "16UC1",
    ],
)
def test_depth_is_refused_when_it_is_compressed(format: str) -> None:
    encoding = format[:5]
    for use in (check, to_array):
        with pytest.raises(BadImageError, match=f"'{encoding}' holds measurements") as caught:
            use(Compressed(format, png(16)))
        assert caught.value.reason == "encoding"


@pytest.mark.parametrize(
    ("format", "bits"),
    [
        ("mono16; png compressed ", 16),
        ("mono8; png compressed ", 8),
        ("bgr8; png compressed bgr8", 8),
        ("png", 16),
        ("png", 8),
        ("", 8),
    ],
)
def test_grey_pictures_are_decoded_when_they_are_compressed(format: str, bits: int) -> None:
    image = to_array(Compressed(format, png(bits)))
    assert image.shape == (8, 16, 3)
    assert (image == 40).all()
