"""Rank of this process among several, from the environment that torchrun and accelerate set."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .errors import ConfigError


@dataclass(frozen=True)
class Rank:
    """Process `number` of `count`; `local` is its number on this host, None if unknown."""

    number: int = 0
    count: int = 1
    local: int | None = None


ALONE = Rank()
"""The rank of a process that runs alone."""


def process_rank() -> Rank:
    """Return the rank of this process.

    Raises:
        ConfigError: the environment variables are invalid or contradict each other.
    """
    number, count = _number("RANK", 0), _number("WORLD_SIZE", 1)
    if number >= count:
        raise ConfigError(
            f"RANK is {number}; with WORLD_SIZE={count} it must be at most {count - 1}"
        )
    local = _number("LOCAL_RANK", 0) if "LOCAL_RANK" in os.environ else None
    return Rank(number, count, local)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"the environment variable {name} is {text!r}: set a whole number")
    return int(text)
