"""An image in a terminal: two pixels per character."""

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


class TerminalImage:
    """`image` scaled to `columns` characters with its aspect ratio: a half block is a square."""

    def __init__(self, image: Image, columns: int) -> None:
        height, width = image.shape[:2]
        rows = 2 * max(1, round(columns * height / width / 2))
        scaled = PIL.Image.fromarray(image).resize((columns, rows), PIL.Image.Resampling.BOX)
        self._pixels = np.asarray(scaled)

    @property
    def lines(self) -> int:
        """Height in lines of text."""
        return len(self._pixels) // 2

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Yield upper half blocks: upper pixels are the foreground, lower ones the background."""
        for upper_row, lower_row in zip(self._pixels[::2], self._pixels[1::2], strict=True):
            for upper, lower in zip(upper_row.tolist(), lower_row.tolist(), strict=True):
                yield Segment(
                    "▀", Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower))
                )
            yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Return its exact width."""
        columns = self._pixels.shape[1]
        return Measurement(columns, columns)
