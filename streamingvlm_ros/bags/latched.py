"""What latched topics said: it holds until they say something else, however long ago it was."""

from __future__ import annotations

from collections import deque

from .recorded import Recorded

_MOST = 100
"""Messages of one topic: on /tf_static every publisher has its own."""


class Latched:
    """The newest messages of each latched topic, none of them twice. For one thread at a time."""

    def __init__(self) -> None:
        self._messages: dict[str, deque[Recorded]] = {}

    def add(self, recorded: Recorded) -> None:
        """Keep a message of a latched topic."""
        kept = self._messages.setdefault(recorded.topic.name, deque(maxlen=_MOST))
        if all(recorded.data != other.data for other in kept):
            kept.append(recorded)

    def all(self) -> list[Recorded]:
        """What is kept, topic by topic, each in the order in which it came."""
        return [recorded for kept in self._messages.values() for recorded in kept]
