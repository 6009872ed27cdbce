"""A picture in a terminal: two pixels in every character."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import PIL.Image
from rich.color import Color
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

from ...types import Image


class Picture:
    """`image` shrunk to `columns` characters, in its own shape: a half block is a square."""

    def __init__(self, image: Image, columns: int) -> None:
        height, width = image.shape[:2]
        rows = 2 * max(1, round(columns * height / width / 2))
        shrunk = PIL.Image.fromarray(image).resize((columns, rows), PIL.Image.Resampling.BOX)
        self._pixels = np.asarray(shrunk)

    @property
    def lines(self) -> int:
        """Height in lines of text."""
        return len(self._pixels) // 2

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Upper pixels are the ink of a half block, lower ones its paper."""
        for upper, lower in zip(self._pixels[::2], self._pixels[1::2], strict=True):
            for ink, paper in zip(upper.tolist(), lower.tolist(), strict=True):
                yield Segment(
                    "▀", Style(color=Color.from_rgb(*ink), bgcolor=Color.from_rgb(*paper))
                )
            yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As wide as it is, neither more nor less."""
        columns = self._pixels.shape[1]
        return Measurement(columns, columns)
