"""The recorder's subscriptions: one per topic, for serialized messages."""

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
class _Subscription:
    topic: Topic
    profile: QoSProfile
    subscription: Subscription[Any]


class TopicSubscriptions:
    """Subscribes to each topic to record when `refresh` discovers it.

    `on_message` is called with each message, stamped by the node's clock, from any thread.
    """

    def __init__(
        self, node: Node, names: Sequence[str], *, on_message: Callable[[BagMessage], None]
    ) -> None:
        """Subscribe to the topics `names`; if there are none, to the default ones.

        Raises:
            ConfigError: a name is not a valid topic name.
        """
        self._node, self._on_message = node, on_message
        try:
            valid = [name for name in names if validate_topic_name(name)]
        except InvalidTopicNameException as error:
            raise ConfigError(f"topics must be valid topic names: {error}") from error
        self._names = [node.resolve_topic_name(name) for name in valid]
        self._subscriptions: dict[str, _Subscription] = {}
        self._unsupported: set[str] = set()
        self._gap_counters: dict[str, GapCounter] = {}
        self._lost = Counters()

    @property
    def names(self) -> list[str]:
        """The subscribed topics, in alphabetical order."""
        return sorted(self._subscriptions)

    def lost(self) -> Counter[str]:
        """Return the number of messages lost between publisher and recorder, by topic."""
        return self._lost.counts()

    def refresh(self) -> None:
        """Subscribe to new topics, and again to topics whose publishers' QoS changed."""
        types = {name: kinds[0] for name, kinds in self._node.get_topic_names_and_types()}
        for name in self._names or topics.recorded_topics(types):
            if name in types:
                self._subscribe(name, types[name])

    def _subscribe(self, name: str, type_name: str) -> None:
        publishers = self._node.get_publishers_info_by_topic(name)
        profile = topics.matching_profile(type_name, publishers)
        existing = self._subscriptions.get(name)
        unchanged = existing is not None and existing.profile == profile
        if not publishers or type_name in self._unsupported or unchanged:
            return
        try:
            message_class = topics.message_class(type_name)
        except ImportError as error:
            self._unsupported.add(type_name)
            self._node.get_logger().warning(f"{name} is not recorded: {error}: install its package")
            return
        if existing:
            topic = existing.topic
            self._node.destroy_subscription(existing.subscription)
        else:
            type_hash = str(publishers[0].topic_type_hash)
            offered = topics.offered_profiles_yaml(publishers)
            topic = live_topic(name, type_name, type_hash=type_hash, qos=offered)
            self._node.get_logger().info(f"recording {name} ({type_name})")
        subscription = self._create_subscription(topic, message_class, profile=profile)
        self._subscriptions[name] = _Subscription(topic, profile, subscription)

    def _create_subscription(
        self, topic: Topic, message_class: Any, *, profile: QoSProfile
    ) -> Subscription[Any]:
        gap_counter = self._gap_counters.setdefault(topic.name, GapCounter())

        def on_data(data: bytes, info: Any) -> None:
            self._on_message(BagMessage(topic, self._node.get_clock().now().nanoseconds, data))
            if missing := gap_counter.missing_before(info):
                self._lost.add(topic.name, missing)

        # A group of its own: a large image delays no other topic.
        group = MutuallyExclusiveCallbackGroup()
        return self._node.create_subscription(
            message_class, topic.name, on_data, profile, callback_group=group, raw=True
        )


class GapCounter:
    """Counts messages that are missing in a topic, by each publisher's sequence numbers.

    Only some middlewares number messages; Fast DDS does.
    """

    def __init__(self) -> None:
        self._newest: dict[bytes, int] = {}

    def missing_before(self, info: Mapping[str, Any]) -> int:
        """Return how many messages are missing between this one and its publisher's previous one.

        `info` is the message's info from rclpy.
        """
        publisher, number = info.get("publisher_gid"), info.get("publication_sequence_number")
        if not publisher or number is None:
            return 0
        previous = self._newest.get(publisher["data"], number - 1)
        self._newest[publisher["data"]] = max(previous, number)
        return max(0, number - previous - 1)
