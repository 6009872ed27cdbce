"""Pictures as the history keeps them: small JPEGs."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow

from ..errors import HistoryError
from ..types import Image

_QUALITY = 90


def encode_jpeg(image: Image, longest_px: int) -> bytes:
    """A JPEG of at most `longest_px` on its longer side, never enlarged."""
    picture = Pillow.fromarray(image)
    picture.thumbnail((longest_px, longest_px))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def decode_jpeg(jpeg: bytes) -> Image:
    """The picture in RGB. HistoryError if it is broken."""
    try:
        with Pillow.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, Pillow.DecompressionBombError) as error:
        raise HistoryError(
            f"a picture of the history is broken ({error}): if that stays so, move its "
            "folder away and restart the node, and a new one is begun"
        ) from error
