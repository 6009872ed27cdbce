"""Quality of service of topics and services, and the image subscription."""

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
"""For everything that is published. Sensor-data subscriptions match it, too."""

REQUESTS = QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_ALL)
"""For services: no request or reply is dropped, however many come at once."""

FEEDBACK = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=1000
)
"""For an answer's texts: deep enough that a slow client misses none."""


def image_topic(node: Node, transport: str) -> str:
    """Return the image topic's full name.

    Remapping `image` moves `image/compressed`, too, as in image_transport.
    """
    base = node.resolve_topic_name("image")
    return f"{base}/compressed" if transport == "compressed" else base


def subscribe_images(
    node: Node, transport: str, *, callback: Callable[[Any], None], group: CallbackGroup
) -> Subscription[Any]:
    """Subscribe to `image` or `image/compressed` as sensor data, which any publisher matches.

    Users may override that (`qos_overrides.<topic>.subscription.reliability` and others). The log
    then names publishers that no longer match.
    """
    topic = image_topic(node, transport)

    def warn(event: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        node.get_logger().warning(
            f"no images from a publisher of {topic}: its {policy} is incompatible with this "
            f"subscription. Set the parameter qos_overrides.{topic}.subscription.{policy} to its "
            f"value in `ros2 topic info --verbose {topic}`"
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
