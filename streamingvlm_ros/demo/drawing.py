"""Anti-aliased drawing of the table and the things on it, at any size.

Every shape is a signed distance from its edge in radii, negative inside. The distance determines
how much of a pixel the shape covers, so a small image looks like a large one scaled down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..types import Image
from .acts import NEW_COLOUR, NEW_SHAPE, RADIUS, Point, Thing

Field = NDArray[np.float32]

RGB = {
    "red": (214, 48, 42),
    "yellow": (240, 196, 32),
    "green": (46, 158, 72),
    "blue": (38, 98, 214),
    "purple": (146, 62, 178),
    "black": (44, 44, 50),
    NEW_COLOUR: (40, 200, 210),
}
_CLOTH = np.array((226, 218, 205), dtype=np.float32)
_COLUMN_TINTS = np.array(((10, -2, -26), (0, 0, 0), (-30, -6, 14)), dtype=np.float32)
_ROW_TINTS = np.array((12, -8, -34), dtype=np.float32)
_SEAMS = (0.35, 0.65)
"""Borders between the places. Each place is a tile of its own tint: landmarks for positions."""
_SHADOW = np.array((120, 108, 92), dtype=np.float32)
_SHADOW_SHIFT, _SHADOW_BLUR = 0.10, 0.30
_EXTENT = 1.8
"""Extent of a thing and its shadow in radii; a star's tips cast the longest shadow."""


def draw(things: Iterable[tuple[Thing, Point]], height_px: int, *, width_px: int) -> Image:
    """Return (height_px, width_px, 3) uint8 RGB of the table with `things` at their positions."""
    canvas = _table(height_px, width_px).copy()
    for thing, (x, y) in things:
        radius = RADIUS * min(height_px, width_px)
        _draw_thing(canvas, thing, x=x * width_px - 0.5, y=y * height_px - 0.5, radius=radius)
    return (canvas + 0.5).astype(np.uint8)


@lru_cache(maxsize=4)
def _table(height_px: int, width_px: int) -> Field:
    """Return the empty table: a cloth of nine tiles, brighter near the lamp at the top left."""
    y = np.linspace(0.0, 1.0, height_px, dtype=np.float32)[:, None]
    x = np.linspace(0.0, 1.0, width_px, dtype=np.float32)[None]
    light = 8.0 - 14.0 * ((x - 0.3) ** 2 + (y - 0.2) ** 2)
    columns = _COLUMN_TINTS[np.searchsorted(_SEAMS, x)]
    rows = _ROW_TINTS[np.searchsorted(_SEAMS, y)]
    canvas: Field = np.clip(_CLOTH + columns + (rows + light)[..., None], 0.0, 254.0)
    canvas.setflags(write=False)
    return canvas


def _draw_thing(canvas: Field, thing: Thing, *, x: float, y: float, radius: float) -> None:
    """Blend a thing and its shadow into the canvas."""
    margin = radius * _EXTENT + 1.0
    top, bottom = _span(y, margin, limit=canvas.shape[0])
    left, right = _span(x, margin, limit=canvas.shape[1])
    if top >= bottom or left >= right:
        return
    part = canvas[top:bottom, left:right]
    v = ((np.arange(top, bottom, dtype=np.float32) - y) / radius)[:, None]
    u = ((np.arange(left, right, dtype=np.float32) - x) / radius)[None]
    distance = _DISTANCES[thing.shape]
    shadow = np.clip(0.5 - distance(u - _SHADOW_SHIFT, v - _SHADOW_SHIFT) / _SHADOW_BLUR, 0.0, 0.35)
    _blend(part, _SHADOW, cover=shadow)
    shaded = np.array(RGB[thing.colour], dtype=np.float32) - 12.0 * (u + v)[..., None]
    _blend(
        part, np.clip(shaded, 0.0, 255.0), cover=np.clip(0.5 - distance(u, v) * radius, 0.0, 1.0)
    )


def _span(centre: float, margin: float, *, limit: int) -> tuple[int, int]:
    return max(0, int(centre - margin)), min(limit, int(centre + margin) + 2)


def _blend(part: Field, colour: Field, *, cover: Field) -> None:
    part += (colour - part) * cover[..., None]


def _circle(u: Field, v: Field) -> Field:
    field: Field = np.hypot(u, v) - np.float32(1.0)
    return field


def _square(u: Field, v: Field) -> Field:
    field: Field = np.maximum(np.abs(u), np.abs(v)) - np.float32(0.95)
    return field


def _triangle(u: Field, v: Field) -> Field:
    """Return the distance from an upright triangle, slightly low so that it looks centred."""
    slope = np.abs(u) * np.float32(0.866) - (v - np.float32(0.1)) * np.float32(0.5)
    field: Field = np.maximum(slope, v - np.float32(0.1)) - np.float32(0.62)
    return field


def _star(u: Field, v: Field) -> Field:
    """Return the distance from a five-pointed star, every tenth folded onto one edge."""
    fifth = 2 * np.pi / 5
    angle = np.abs((np.arctan2(u, -v) + fifth / 2) % fifth - fifth / 2)
    away = np.hypot(u, v)
    along, across = away * np.cos(angle), away * np.sin(angle)
    tip = np.array((1.15, 0.0))
    notch = 0.42 * np.array((np.cos(fifth / 2), np.sin(fifth / 2)))
    edge = (notch - tip) / np.hypot(*(notch - tip))
    field: Field = ((along - tip[0]) * edge[1] - across * edge[0]).astype(np.float32)
    return field


def _ring(u: Field, v: Field) -> Field:
    field: Field = np.abs(np.hypot(u, v) - np.float32(0.75)) - np.float32(0.25)
    return field


_DISTANCES: dict[str, Callable[[Field, Field], Field]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    NEW_SHAPE: _ring,
}
