"""Quality of service: how images are subscribed, and what to do when none come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import (
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
    qos_profile_sensor_data,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

PUBLISHED = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=10
)
"""For all that is published: whoever subscribes as sensor data is served as well."""

REQUESTS = QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_ALL)
"""For services: however many ask at once, nobody waits for an answer that never comes."""

FEEDBACK = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=1000
)
"""For the pieces of answers: whoever is slow to take them in shall miss none."""


def image_topic(node: Node, transport: str) -> str:
    """The topic's full name. As with image_transport, remapping `image` moves its variants too."""
    base = node.resolve_topic_name("image")
    return f"{base}/compressed" if transport == "compressed" else base


def subscribe_images(
    node: Node, transport: str, callback: Callable[[Any], None], group: CallbackGroup
) -> Subscription[Any]:
    """Subscribe to `image` or `image/compressed` as sensor data, which any publisher matches.

    The user may override that (`qos_overrides.<topic>.subscription.reliability` and others); a
    publisher that then can't be heard is named in the log.
    """
    topic = image_topic(node, transport)

    def warn(event: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        node.get_logger().warning(
            f"a publisher of {topic} can't be heard: its {policy} does not fit what is asked for "
            f"here. Set the parameter qos_overrides.{topic}.subscription.{policy} to what "
            f"`ros2 topic info --verbose {topic}` says it offers"
        )

    return node.create_subscription(
        CompressedImage if transport == "compressed" else Image,
        topic,
        callback,
        qos_profile_sensor_data,
        callback_group=group,
        event_callbacks=SubscriptionEventCallbacks(incompatible_qos=warn),
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
