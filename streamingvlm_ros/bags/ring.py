"""The last seconds, in memory."""

from __future__ import annotations

from collections import deque

from ..types import NS_PER_S
from .types import BagMessage

_OVERHEAD_BYTES = 300
"""What a message takes in memory beside its data."""

JUMP_NS = NS_PER_S
"""Stamps that go back further are another time: a simulation, or a bag, that began anew."""


class Ring:
    """The newest messages, within so many seconds and bytes. For one thread at a time."""

    def __init__(self, max_s: float, max_bytes: int) -> None:
        self._max_ns = round(max_s * NS_PER_S)
        self._max_bytes = max_bytes
        self._messages: deque[BagMessage] = deque()
        self.size_bytes = 0
        """How much memory it takes."""

    def append(self, recorded: BagMessage) -> None:
        """Add the newest message; the oldest go."""
        if self._messages and recorded.stamp_ns < self._messages[-1].stamp_ns - JUMP_NS:
            self._messages.clear()
            self.size_bytes = 0
        self._messages.append(recorded)
        self.size_bytes += _size(recorded)
        while self.size_bytes > self._max_bytes or self._is_old(recorded.stamp_ns):
            self.size_bytes -= _size(self._messages.popleft())

    def since(self, stamp_ns: int) -> list[BagMessage]:
        """What is held from a moment on."""
        return [recorded for recorded in self._messages if recorded.stamp_ns >= stamp_ns]

    @property
    def oldest_ns(self) -> int | None:
        """Stamp of the oldest message that is held; None if there is none."""
        return self._messages[0].stamp_ns if self._messages else None

    def _is_old(self, now_ns: int) -> bool:
        return bool(self._messages) and self._messages[0].stamp_ns < now_ns - self._max_ns


def _size(recorded: BagMessage) -> int:
    return len(recorded.data) + _OVERHEAD_BYTES
