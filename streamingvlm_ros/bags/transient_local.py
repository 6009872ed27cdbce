"""What latched topics said: it holds until they say something else, however long ago it was."""

from __future__ import annotations

from .types import BagMessage

MOST = 100
"""Messages of one topic. How many its publishers keep is not known: Fast DDS tells nobody their
depth, and on /tf_static each that comes later has its own."""

MOST_BYTES = 16 * 10**6
"""Of all topics: it is written into every file and clip. A map that grows is said again and again,
and only the last one matters."""


class TransientLocalMessages:
    """The newest messages of each latched topic, none of them twice. For one thread at a time.

    The newest of a topic is kept, whatever its size.
    """

    def __init__(self) -> None:
        self._messages: dict[str, list[BagMessage]] = {}
        self._sizes: dict[str, int] = {}

    def add(self, recorded: BagMessage) -> None:
        """Keep a message of a latched topic, as the newest even if it was said before."""
        name = recorded.topic.name
        kept = self._messages.get(name, [])
        others = [other for other in kept if other.data != recorded.data]
        self._keep(name, [*others, recorded][-MOST:])
        while sum(self._sizes.values()) > MOST_BYTES and (largest := self._largest()):
            self._keep(largest, self._messages[largest][1:])

    def all(self) -> list[BagMessage]:
        """What is kept, topic by topic, each in the order in which it came."""
        return [recorded for kept in self._messages.values() for recorded in kept]

    def _keep(self, name: str, messages: list[BagMessage]) -> None:
        self._messages[name] = messages
        self._sizes[name] = sum(len(recorded.data) for recorded in messages)

    def _largest(self) -> str:
        """The topic that takes the most memory of those that can lose a message; '' if none can."""
        names = [name for name, kept in self._messages.items() if len(kept) > 1]
        return max(names, key=lambda name: self._sizes[name], default="")
