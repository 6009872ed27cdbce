"""Which process of several this is, as torchrun and accelerate tell each of theirs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .errors import ConfigError


@dataclass(frozen=True)
class Rank:
    """Process `number` of `count`; `local` is its number on this host, None if nobody says so."""

    number: int = 0
    count: int = 1
    local: int | None = None


ALONE = Rank()
"""The only process."""


def process_rank() -> Rank:
    """This process's, by the environment. ConfigError if that makes no sense."""
    number, count = _whole("RANK", 0), _whole("WORLD_SIZE", 1)
    if number >= count:
        raise ConfigError(f"RANK is {number}, but of WORLD_SIZE={count} the last is {count - 1}")
    local = _whole("LOCAL_RANK", 0) if "LOCAL_RANK" in os.environ else None
    return Rank(number, count, local)


def _whole(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"the environment variable {name} is {text!r}: it must be a number")
    return int(text)
