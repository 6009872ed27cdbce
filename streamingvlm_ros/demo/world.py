"""A small endless world for a synthetic camera, with a true caption for every second.

Needs only numpy. Coloured shapes enter a table, move, stop, hit each other and leave.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..types import Image
from .acts import Second
from .drawing import draw
from .story import BLOCK_S, generate_block

FIRST_UNSEEN_SEED = 10_000
"""The shipped model was never trained on worlds with this seed or a larger one."""


class World:
    """A deterministic world, given by its seed. Times can be read in any order."""

    def __init__(self, seed: int, new: bool = False) -> None:
        """`seed` must not be negative.

        With `new`, every thing is cyan or a ring, which the shipped model never saw.

        Raises:
            ValueError: `seed` is negative.
        """
        if seed < 0:
            raise ValueError(f"seed {seed} is negative; use 0 or more")
        self.seed, self._new = seed, new
        self._block = lru_cache(maxsize=4)(self._generate)

    def second(self, number: int) -> Second:
        """Return what happens between `number` and `number + 1` seconds.

        Raises:
            ValueError: `number` is negative.
        """
        if number < 0:
            raise ValueError(f"second {number} is negative; the world begins at 0")
        return self._block(number // BLOCK_S)[number % BLOCK_S]

    def caption(self, second: int) -> str:
        """Return the true description of a second; '' while the table is empty."""
        return self.second(second).caption

    def frame(self, t_s: float, height_px: int, width_px: int) -> Image:
        """Return (height_px, width_px, 3) uint8 RGB of the table at time `t_s`, 0 or later."""
        number = int(t_s // 1)
        acts = self.second(number).acts
        return draw(
            [(a.thing, a.position(t_s - number)) for a in acts], height_px, width_px=width_px
        )

    def _generate(self, block: int) -> tuple[Second, ...]:
        return generate_block(np.random.default_rng([self.seed, block]), self._new)
