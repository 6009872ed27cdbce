"""The recorder's subscriptions: one for each topic, as bytes that nobody looks into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from rclpy.validate_topic_name import validate_topic_name

from ...bags.cdr import live_topic
from ...bags.types import BagMessage, Topic
from ...errors import ConfigError
from ..diagnostics import Counters
from . import topics


@dataclass(frozen=True)
class _Ear:
    topic: Topic
    profile: QoSProfile
    subscription: Subscription[Any]


class TopicSubscriptions:
    """Hears every topic that is to be recorded, from when `look` first finds it.

    `hear` is called with each message, stamped by the node's clock, from any thread.
    """

    def __init__(
        self, node: Node, names: Sequence[str], hear: Callable[[BagMessage], None]
    ) -> None:
        """`names` are the topics; if there are none, they are found by type and name.

        ConfigError for a name that no topic can have.
        """
        self._node, self._hear = node, hear
        try:
            valid = [name for name in names if validate_topic_name(name)]
        except InvalidTopicNameException as error:
            raise ConfigError(f"topics must be names of topics: {error}") from error
        self._names = [node.resolve_topic_name(name) for name in valid]
        self._topics: dict[str, _Ear] = {}
        self._deaf: set[str] = set()
        self._gaps: dict[str, Gaps] = {}
        self._lost = Counters()

    @property
    def names(self) -> list[str]:
        """The topics that are heard."""
        return sorted(self._topics)

    def lost(self) -> Counter[str]:
        """Messages, by topic, that were lost between their publisher and here."""
        return self._lost.counts()

    def look(self) -> None:
        """Subscribe what is new, and anew what is offered otherwise than before."""
        there = {name: kinds[0] for name, kinds in self._node.get_topic_names_and_types()}
        for name in self._names or topics.chosen(there):
            if name in there:
                self._subscribe(name, there[name])

    def _subscribe(self, name: str, kind: str) -> None:
        publishers = self._node.get_publishers_info_by_topic(name)
        profile, ear = topics.fitting(kind, publishers), self._topics.get(name)
        if not publishers or kind in self._deaf or (ear and ear.profile == profile):
            return
        try:
            message = topics.message_class(kind)
        except ImportError as error:
            self._deaf.add(kind)
            self._node.get_logger().warning(f"{name} is not recorded: {error}: install its package")
            return
        if ear:
            topic = ear.topic
            self._node.destroy_subscription(ear.subscription)
        else:
            type_hash = str(publishers[0].topic_type_hash)
            topic = live_topic(name, kind, type_hash=type_hash, qos=topics.offered(publishers))
            self._node.get_logger().info(f"recording {name} ({kind})")
        self._topics[name] = _Ear(topic, profile, self._subscription(topic, message, profile))

    def _subscription(self, topic: Topic, message: Any, profile: QoSProfile) -> Subscription[Any]:
        def take(data: bytes, info: Any) -> None:
            self._hear(BagMessage(topic, self._node.get_clock().now().nanoseconds, data))
            if missed := gaps.missed(info):
                self._lost.add(topic.name, missed)

        gaps = self._gaps.setdefault(topic.name, Gaps())
        # A group of its own: a large image keeps nothing else waiting.
        group = MutuallyExclusiveCallbackGroup()
        return self._node.create_subscription(
            message, topic.name, take, profile, callback_group=group, raw=True
        )


class Gaps:
    """Counts what is missing between the messages of a topic, publisher by publisher.

    Only where the middleware numbers them; Fast DDS does.
    """

    def __init__(self) -> None:
        self._newest: dict[bytes, int] = {}

    def missed(self, info: Mapping[str, Any]) -> int:
        """How many there were between this message and the one before, by what ROS says of it."""
        publisher, number = info.get("publisher_gid"), info.get("publication_sequence_number")
        if not publisher or number is None:
            return 0
        before = self._newest.get(publisher["data"], number - 1)
        self._newest[publisher["data"]] = max(before, number)
        return max(0, number - before - 1)
