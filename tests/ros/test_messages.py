"""Conversions between ROS messages and the package's types."""

from __future__ import annotations

import io
import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from streamingvlm_ros.frames import image_decoding
from streamingvlm_ros.frames.image_decoding import (
    CONVERTED_BYTES,
    RGB_CHANNELS,
    BadImageError,
    check,
    to_array,
)
from streamingvlm_ros.ros.messages import compressed_image_message, image_message, to_time
from streamingvlm_ros.types import to_ns

PICTURE = np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8)


def message(rows: np.ndarray, encoding: str, *, width: int) -> Image:
    """`rows` is (height, step) bytes."""
    image = Image(encoding=encoding, height=len(rows), width=width, step=rows.shape[1])
    image.header.stamp.sec = 5
    image.data = array("B", rows.tobytes())
    return image


def test_an_image_survives_serialization() -> None:
    sent = image_message(PICTURE, 12_000_000_345, frame_id="camera")
    received = deserialize_message(serialize_message(sent), Image)
    assert np.array_equal(to_array(received), PICTURE)
    assert to_ns(received.header.stamp) == 12_000_000_345
    assert received.header.frame_id == "camera"


def test_a_view_of_an_array_survives_too() -> None:
    flipped = PICTURE[::-1, ::2]
    assert np.array_equal(to_array(image_message(flipped, 1, frame_id="")), flipped)


def test_padded_rows_are_read() -> None:
    rows = np.pad(PICTURE.reshape(24, 96), ((0, 0), (0, 13)), constant_values=99)
    assert np.array_equal(to_array(message(rows, "rgb8", width=32)), PICTURE)
    unpadded_end = message(rows, "rgb8", width=32)
    unpadded_end.data = unpadded_end.data[:-13]
    assert np.array_equal(to_array(unpadded_end), PICTURE)


@pytest.mark.parametrize(
    ("encoding", "rows"),
    [
        ("bgr8", PICTURE[..., ::-1].reshape(24, 96)),
        ("8UC3", PICTURE[..., ::-1].reshape(24, 96)),
        ("rgba8", np.dstack([PICTURE, PICTURE[..., :1]]).reshape(24, 128)),
        ("bgra8", np.dstack([PICTURE[..., ::-1], PICTURE[..., :1]]).reshape(24, 128)),
        ("rgb16", (PICTURE.astype("<u2") * 257).view(np.uint8).reshape(24, 192)),
    ],
)
def test_colour_encodings_are_read(encoding: str, rows: np.ndarray) -> None:
    assert np.array_equal(to_array(message(rows, encoding, width=32)), PICTURE)
    padded = np.pad(rows, ((0, 0), (0, 8)), constant_values=99)
    assert np.array_equal(to_array(message(padded, encoding, width=32)), PICTURE)


RED_GREEN_BLUE = {
    "rgb8": [0, 1, 2],
    "bgr8": [2, 1, 0],
    "8UC3": [2, 1, 0],
    "rgba8": [0, 1, 2],
    "bgra8": [2, 1, 0],
    "8UC4": [2, 1, 0],
    "mono8": [0, 0, 0],
    "8UC1": [0, 0, 0],
}


@pytest.mark.parametrize("encoding", RED_GREEN_BLUE)
@given(st.integers(1, 40), st.integers(1, 70), st.integers(0, 9), st.booleans())
def test_any_size_and_padding_gives_an_array_of_its_own(
    encoding: str, height: int, width: int, padding: int, last_row_is_short: bool
) -> None:
    channels, _ = RGB_CHANNELS[encoding]
    used = width * channels
    rows = np.random.default_rng(height).integers(0, 256, (height, used + padding), np.uint8)
    image = message(rows, encoding, width=width)
    if last_row_is_short:
        image.data = image.data[: len(image.data) - padding]
    picture = to_array(image)
    expected = rows[:, :used].reshape(height, width, channels)[..., RED_GREEN_BLUE[encoding]]
    assert np.array_equal(picture, expected)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert picture.flags.writeable
    assert not np.shares_memory(picture, np.frombuffer(image.data, np.uint8))


def test_every_encoding_without_arithmetic_is_tested() -> None:
    assert set(RED_GREEN_BLUE) == set(RGB_CHANNELS)


@pytest.mark.parametrize("encoding", RED_GREEN_BLUE)
def test_a_single_row_may_have_any_step(encoding: str) -> None:
    channels, _ = RGB_CHANNELS[encoding]
    image = message(np.full((1, 32 * channels), 7, np.uint8), encoding, width=32)
    image.step = 2**32 - 1
    assert np.array_equal(to_array(image), np.full((1, 32, 3), 7))


@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "mono16"])
def test_grey_becomes_three_equal_channels(encoding: str) -> None:
    grey = PICTURE[..., 0]
    rows = grey if encoding != "mono16" else (grey.astype("<u2") * 257).view(np.uint8)
    assert np.array_equal(to_array(message(rows, encoding, width=32)), np.dstack([grey] * 3))


@pytest.mark.parametrize("encoding", CONVERTED_BYTES)
def test_every_other_known_encoding_gives_an_rgb_array(encoding: str) -> None:
    rows = np.full((24, 32 * CONVERTED_BYTES[encoding]), 128, np.uint8)
    picture = to_array(message(rows, encoding, width=32))
    assert picture.shape == (24, 32, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - 128).max() <= 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoding": "sixteen colours"}, "encoding"),
        ({"encoding": "32FC1"}, "encoding"),
        ({"encoding": ""}, "encoding"),
        ({"width": 0}, "size"),
        ({"height": 0}, "size"),
        ({"step": 95}, "step"),
        ({"step": 97}, "size"),
        ({"height": 25}, "size"),
        ({"width": 2**32 - 1}, "step"),
        ({"data": array("B")}, "size"),
    ],
)
def test_an_invalid_header_is_rejected_without_reading_the_data(
    changes: dict[str, object], reason: str
) -> None:
    image = message(PICTURE.reshape(24, 96), "rgb8", width=32)
    for name, value in changes.items():
        setattr(image, name, value)
    with pytest.raises(BadImageError) as caught:
        check(image)
    assert caught.value.reason == reason


def test_an_image_without_a_stamp_is_bad() -> None:
    with pytest.raises(BadImageError, match="no time stamp"):
        check(image_message(PICTURE, 0, frame_id="camera"))


def test_an_odd_width_is_bad_where_the_encoding_forbids_it() -> None:
    with pytest.raises(BadImageError, match="yuv422"):
        to_array(message(np.zeros((24, 62), np.uint8), "yuv422", width=31))


def encoded(form: str) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(PICTURE).save(file, form)
    return file.getvalue()


def compressed(data: bytes) -> CompressedImage:
    image = CompressedImage(format="jpeg", data=array("B", data))
    image.header.stamp.sec = 5
    return image


def test_a_16_bit_png_keeps_its_shades() -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    png = io.BytesIO()
    PIL.Image.fromarray(ramp).save(png, "PNG")
    message = CompressedImage(format="png", data=array("B", png.getvalue()))
    message.header.stamp.sec = 1
    assert np.array_equal(to_array(message)[..., 1], ramp >> 8)


def test_png_exactly_and_jpeg_nearly() -> None:
    assert np.array_equal(to_array(compressed(encoded("PNG"))), PICTURE)
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    seen = to_array(compressed_image_message(smooth, 5, frame_id="camera"))
    assert np.abs(seen.astype(int) - smooth).max() < 30


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@given(st.data())
def test_a_corrupt_file_is_a_bad_image_or_decodes(form: str, data: st.DataObject) -> None:
    encoded_bytes = bytearray(encoded(form))
    for _ in range(data.draw(st.integers(0, 3))):
        encoded_bytes[data.draw(st.integers(0, len(encoded_bytes) - 1))] = data.draw(
            st.integers(0, 255)
        )
    encoded_bytes = encoded_bytes[: data.draw(st.integers(0, len(encoded_bytes)))]
    with suppress(BadImageError):
        picture = to_array(compressed(bytes(encoded_bytes)))
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_jpeg_is_bad(part: float) -> None:
    jpeg = encoded("JPEG")
    with pytest.raises(BadImageError, match="can't be read"):
        to_array(compressed(jpeg[: int(len(jpeg) * part)]))


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_stamps_convert_exactly(stamp_ns: int) -> None:
    assert to_ns(to_time(stamp_ns)) == stamp_ns


# As compiled for numpy 1, beside numpy 2: some builds fail when imported, others when used.
FAILING_BRIDGES = {
    "at import": "raise AttributeError('_ARRAY_API not found')\n",
    "at the first conversion": """
class CvBridge:
    def imgmsg_to_cv2(self, message, desired_encoding):
        raise ImportError("numpy.core.multiarray failed to import")
""",
}


@pytest.fixture
def cv_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], int]]:
    """Install a module cv_bridge with this source."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    image_decoding._converter.cache_clear()
    yield (tmp_path / "cv_bridge.py").write_text
    image_decoding._converter.cache_clear()


@pytest.mark.parametrize("encoding", ["mono16", "yuv422", "bayer_rggb8"])
@pytest.mark.parametrize("source", FAILING_BRIDGES.values(), ids=FAILING_BRIDGES)
def test_a_cv_bridge_that_fails_stops_no_image(
    source: str, encoding: str, *, cv_bridge: Callable[[str], int]
) -> None:
    cv_bridge(source)
    rows = np.full((24, 32 * CONVERTED_BYTES[encoding]), 128, np.uint8)
    assert to_array(message(rows, encoding, width=32)).shape == (24, 32, 3)


def test_a_cv_bridge_that_works_converts_the_images(cv_bridge: Callable[[str], int]) -> None:
    cv_bridge("""
import numpy as np

class CvBridge:
    def imgmsg_to_cv2(self, message, desired_encoding):
        return np.full((message.height, message.width, 3), 7, np.uint8)
""")
    rows = np.full((24, 32 * 2), 128, np.uint8)
    assert (to_array(message(rows, "mono16", width=32)) == 7).all()
