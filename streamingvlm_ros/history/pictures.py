"""Pictures as the history stores them: small JPEGs."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow

from ..errors import HistoryError
from ..types import Image

_QUALITY = 90


def encode_jpeg(image: Image, max_side_px: int) -> bytes:
    """Encode an image, shrunk so that its longer side has at most `max_side_px`."""
    picture = Pillow.fromarray(image)
    picture.thumbnail((max_side_px, max_side_px))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def decode_jpeg(jpeg: bytes) -> Image:
    """Decode a picture to RGB.

    Raises:
        HistoryError: The picture is broken.
    """
    try:
        with Pillow.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, Pillow.DecompressionBombError) as error:
        raise HistoryError(
            f"a picture of the history is broken ({error}): if this persists, move its folder "
            "away and restart the node to start a new one"
        ) from error
