"""Pictures as players show them: the eight display matrices, of the container and of the codec."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.frames.upright import DisplayMatrix, oriented
from streamingvlm_ros.frames.video import VideoSource
from streamingvlm_ros.types import Image

from ..support.videos import copy_through, set_matrix, write

COLOURS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "W": (255, 255, 255)}
ORIENTATIONS = [
    ((1, 0, 0, 1), "RGBW"),
    ((-1, 0, 0, 1), "GRWB"),
    ((1, 0, 0, -1), "BWRG"),
    ((-1, 0, 0, -1), "WBGR"),
    ((0, 1, -1, 0), "BRWG"),
    ((0, -1, 1, 0), "GWRB"),
    ((0, 1, 1, 0), "RBGW"),
    ((0, -1, -1, 0), "WGBR"),
]


def quarters(_: int = 0) -> Image:
    """Red, green, blue and white quarters, by rows."""
    rows = [[COLOURS[name] for name in row] for row in ("RG", "BW")]
    return np.repeat(np.repeat(np.array(rows, np.uint8), 24, 0), 32, 1)


def corners(image: Image) -> str:
    """Names of the colours of the quarters, by rows."""
    height, width = image.shape[:2]
    names = {tuple(value > 128 for value in colour): name for name, colour in COLOURS.items()}
    places = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return "".join(names.get(tuple(image[place] > 128), "?") for place in places)


def first_image(path: Path) -> Image:
    return next(iter(VideoSource(path, FrameConfig()))).frames[0].image


@pytest.mark.parametrize(("matrix", "shown"), ORIENTATIONS)
@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_a_video_is_seen_as_its_container_says(
    tmp_path: Path, matrix: tuple[int, int, int, int], shown: str, ending: str
) -> None:
    path = write(tmp_path / f"v.{ending}", range(0, 1000, 100), picture=quarters)
    image = first_image(set_matrix(path, matrix))
    assert corners(image) == shown
    assert image.shape == ((64, 48, 3) if matrix[0] == 0 else (48, 64, 3))


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [("rotate=90", "GWRB"), ("rotate=180", "WBGR"), ("flip=horizontal", "GRWB")],
)
@pytest.mark.parametrize("ending", ["mkv", "ts"])
def test_a_video_is_seen_as_its_codec_says(
    tmp_path: Path, orientation: str, shown: str, ending: str
) -> None:
    if ending == "mkv" and av.library_versions["libavcodec"] < (62,):
        pytest.skip("FFmpeg 7 copies H.264 to MKV without its header")
    plain = write(tmp_path / f"plain.{ending}", range(0, 1000, 100), picture=quarters)
    turn = f"h264_metadata=display_orientation=insert:{orientation}"
    assert (
        corners(first_image(copy_through(plain, tmp_path / f"v.{ending}", bitstream_filter=turn)))
        == shown
    )


@pytest.mark.parametrize(("matrix", "shown"), ORIENTATIONS)
def test_a_slightly_slanted_matrix_is_rounded_to_a_quarter_turn(
    matrix: tuple[int, int, int, int], shown: str
) -> None:
    slanted = DisplayMatrix(*(1000 * value + 7 for value in matrix))
    assert corners(oriented(quarters(), slanted)) == shown


def test_a_matrix_of_zeros_changes_nothing() -> None:
    assert corners(oriented(quarters(), DisplayMatrix(0, 0, 0, 0))) == "RGBW"
