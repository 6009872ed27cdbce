"""A small endless world for a camera to look at, with the truth about every second of it.

Needs numpy alone. Shapes of several colours enter a table, move, stop, hit each other and leave.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..types import Image
from .acts import Second
from .drawing import draw
from .story import BLOCK_S, tell

FIRST_UNSEEN_SEED = 10_000
"""Worlds from this seed on are never trained on."""


class World:
    """Worlds with the same seed are the same. Any time can be asked for, in any order."""

    def __init__(self, seed: int, new: bool = False) -> None:
        """`seed` is 0 or more; ValueError otherwise.

        With `new` every thing is cyan or a ring, which the shipped model never saw.
        """
        if seed < 0:
            raise ValueError(f"a world's seed is 0 or more, not {seed}")
        self.seed, self._new = seed, new
        self._block = lru_cache(maxsize=4)(self._tell)

    def second(self, number: int) -> Second:
        """What happens between `number` and `number + 1` seconds; `number` is 0 or more."""
        if number < 0:
            raise ValueError(f"the world begins at second 0, not at {number}")
        return self._block(number // BLOCK_S)[number % BLOCK_S]

    def caption(self, second: int) -> str:
        """The true description of a second; '' while the table is empty."""
        return self.second(second).caption

    def frame(self, t_s: float, height_px: int, width_px: int) -> Image:
        """(height_px, width_px, 3) uint8 RGB of the table at a time, 0 or later."""
        number = int(t_s // 1)
        acts = self.second(number).acts
        return draw([(a.thing, a.place(t_s - number)) for a in acts], height_px, width_px)

    def _tell(self, block: int) -> tuple[Second, ...]:
        return tell(np.random.default_rng([self.seed, block]), self._new)
