from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from streamingvlm_ros.errors import HistoryError
from streamingvlm_ros.history.pictures import decode_jpeg, encode_jpeg


@pytest.mark.parametrize(
    ("height", "width", "stored"),
    [(480, 640, (336, 448)), (640, 480, (448, 336)), (448, 100, (448, 100)), (24, 32, (24, 32))],
)
def test_a_picture_is_shrunk_to_its_longest_side_and_never_enlarged(
    height: int, width: int, stored: tuple[int, int]
) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    assert decode_jpeg(encode_jpeg(image, 448)).shape == (*stored, 3)


def test_colours_survive_encoding() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32] = (200, 30, 90)
    decoded = decode_jpeg(encode_jpeg(image, 448))
    assert decoded.dtype == np.uint8
    assert np.abs(decoded[:24].astype(int) - image[:24]).max() < 8
    assert np.abs(decoded[40:].astype(int) - image[40:]).max() < 8


def test_a_picture_is_small_on_disk() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3)).astype(np.uint8)
    assert len(encode_jpeg(noise, 448)) < 150_000


GREY = encode_jpeg(np.zeros((24, 32, 3), np.uint8), 448)
SIZE, HUGE = bytes([0, 24, 0, 32]), bytes([0xFF] * 4)


@pytest.mark.parametrize("jpeg", [b"", b"\xff\xd8 no jpeg", GREY[:-20], GREY.replace(SIZE, HUGE)])
def test_a_broken_picture_is_a_history_error(jpeg: bytes) -> None:
    with pytest.raises(HistoryError, match=r"is broken.* restart the node"):
        decode_jpeg(jpeg)


def test_formats_other_than_jpeg_are_refused() -> None:
    file = io.BytesIO()
    Pillow.new("RGB", (32, 24)).save(file, "PNG")
    with pytest.raises(HistoryError, match="is broken"):
        decode_jpeg(file.getvalue())
