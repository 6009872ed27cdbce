"""The last messages of transient-local topics: they hold until a newer one comes, however old."""

from __future__ import annotations

from .types import BagMessage

MAX_MESSAGES = 100
"""Limit for each topic. The publishers' own limit is unknown: Fast DDS does not announce their
depth, and on /tf_static every publisher has messages of its own."""

MAX_BYTES = 16 * 10**6
"""Limit for all topics, because they are repeated in every file and clip. A growing map is
published again and again, and only its last message matters."""


class TransientLocalMessages:
    """The newest messages of each transient-local topic, without repetitions.

    The newest of a topic is stored whatever its size. For one thread at a time.
    """

    def __init__(self) -> None:
        self._messages: dict[str, list[BagMessage]] = {}
        self._sizes: dict[str, int] = {}

    def add(self, message: BagMessage) -> None:
        """Store a message as the newest of its topic, also if it repeats an older one."""
        name = message.topic.name
        others = [other for other in self._messages.get(name, []) if other.data != message.data]
        self._store(name, [*others, message][-MAX_MESSAGES:])
        while sum(self._sizes.values()) > MAX_BYTES and (largest := self._largest()):
            self._store(largest, self._messages[largest][1:])

    def all(self) -> list[BagMessage]:
        """Return the stored messages, topic by topic, in order of arrival within a topic."""
        return [message for messages in self._messages.values() for message in messages]

    def _store(self, name: str, messages: list[BagMessage]) -> None:
        self._messages[name] = messages
        self._sizes[name] = sum(len(message.data) for message in messages)

    def _largest(self) -> str:
        """Return the largest topic that has a message to spare; '' if none has."""
        names = [name for name, messages in self._messages.items() if len(messages) > 1]
        return max(names, key=lambda name: self._sizes[name], default="")
