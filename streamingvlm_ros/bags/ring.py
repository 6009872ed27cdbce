"""The last seconds of all topics, in memory."""

from __future__ import annotations

from collections import deque

from ..types import NS_PER_S
from .types import BagMessage

_OVERHEAD_BYTES = 300
"""Memory of a message beside its data."""

JUMP_NS = NS_PER_S
"""Stamps that go back by more mean that time began anew: a restarted simulation or bag."""


class Ring:
    """The newest messages, bounded in seconds and bytes. For one thread at a time."""

    def __init__(self, max_s: float, max_bytes: int) -> None:
        self._max_ns = round(max_s * NS_PER_S)
        self._max_bytes = max_bytes
        self._messages: deque[BagMessage] = deque()
        self.size_bytes = 0
        """Memory of all messages."""

    def append(self, message: BagMessage) -> None:
        """Add the newest message, and remove the oldest beyond the bounds."""
        if self._messages and message.stamp_ns < self._messages[-1].stamp_ns - JUMP_NS:
            self._messages.clear()
            self.size_bytes = 0
        self._messages.append(message)
        self.size_bytes += _size(message)
        while self.size_bytes > self._max_bytes or self._is_old(message.stamp_ns):
            self.size_bytes -= _size(self._messages.popleft())

    def since(self, stamp_ns: int) -> list[BagMessage]:
        """Return the messages from `stamp_ns` on."""
        return [message for message in self._messages if message.stamp_ns >= stamp_ns]

    @property
    def oldest_ns(self) -> int | None:
        """Stamp of the oldest message; None if the ring is empty."""
        return self._messages[0].stamp_ns if self._messages else None

    def _is_old(self, now_ns: int) -> bool:
        return bool(self._messages) and self._messages[0].stamp_ns < now_ns - self._max_ns


def _size(message: BagMessage) -> int:
    return len(message.data) + _OVERHEAD_BYTES
