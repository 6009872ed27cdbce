"""Pictures as a player shows them: turned and mirrored as the file says."""

from __future__ import annotations

import struct
from typing import NamedTuple, cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

from ..types import Image


class DisplayMatrix(NamedTuple):
    """Maps (x, y) of a decoded picture to (a x + c y, b x + d y) on the screen."""

    a: int
    b: int
    c: int
    d: int


UNCHANGED = DisplayMatrix(1, 0, 0, 1)


class Picture(NamedTuple):
    """A decoded picture, and how it is to be shown."""

    frame: VideoFrame
    matrix: DisplayMatrix

    def upright(self) -> Image:
        """Return the picture as RGB, as a player shows it."""
        array = self.frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        return oriented(array, self.matrix)


def oriented(array: Image, matrix: DisplayMatrix) -> Image:
    """Turn and mirror an image to the nearest of the eight orientations of a rectangle."""
    a, b, c, d = matrix
    transposed = abs(b) > abs(a)
    if transposed:
        array = array.transpose(1, 0, 2)
    to_right, down = (c, b) if transposed else (a, d)
    if to_right < 0:
        array = array[:, ::-1]
    if down < 0:
        array = array[::-1]
    return np.ascontiguousarray(array)


def matrix_of(frame: VideoFrame, before: DisplayMatrix) -> DisplayMatrix:
    """Return a frame's matrix: of the container, or of the codec's message at a key frame.

    The latter holds up to the next key frame; `before` is the matrix of the frame before.
    """
    try:
        data = cast(SideDataContainer, frame.side_data)[Type.DISPLAYMATRIX]
    except KeyError:
        return UNCHANGED if frame.key_frame else before
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    return DisplayMatrix(a, b, c, d)
