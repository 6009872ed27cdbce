"""Topics that are recorded, and subscriptions that match their publishers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import yaml
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from ...bags.types import ANSWER_TYPE, IMAGE_TYPES, NARRATION_TYPE
from ...types import NS_PER_S

RECORDED_TYPES = (
    *IMAGE_TYPES,
    "sensor_msgs/msg/CameraInfo",
    NARRATION_TYPE,
    ANSWER_TYPE,
)
"""All topics of these types are recorded."""

RECORDED_TOPICS = {
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
}
"""These topics are recorded if they have this type."""

RECORDED_NARRATOR_TOPICS = {"text": "std_msgs/msg/String"}
"""Recorded topics of a narrator, by their name in the namespace of its narration."""

EXCLUDED_NARRATOR_TOPICS = ("annotated/compressed",)
"""Not recorded: images with the text drawn in. The bag has the images and the text themselves."""

_IMAGE_DEPTH, _DEPTH = 30, 1000
"""Messages that may wait while the recorder can't run. Raw images are large."""


def recorded_topics(types: Mapping[str, str]) -> list[str]:
    """Return the names of the topics that are recorded by default, of all `types` by name."""
    narrators = [
        name.rpartition("/")[0] for name, type_ in types.items() if type_ == NARRATION_TYPE
    ]
    by_name = RECORDED_TOPICS | {
        f"{narrator}/{name}": type_
        for narrator in narrators
        for name, type_ in RECORDED_NARRATOR_TOPICS.items()
    }
    excluded = {f"{narrator}/{name}" for narrator in narrators for name in EXCLUDED_NARRATOR_TOPICS}
    return [
        name
        for name, type_ in types.items()
        if (type_ in RECORDED_TYPES or by_name.get(name) == type_) and name not in excluded
    ]


def message_class(type_name: str) -> Any:
    """Return the Python class of a type such as 'std_msgs/msg/String'.

    Raises:
        ImportError: no such type is installed.
    """
    package, _, name = type_name.partition("/msg/")
    if not package.isidentifier():
        raise ImportError(f"{type_name!r} is not a message type")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except AttributeError as error:
        raise ImportError(f"package {package} has no message {name}") from error


def matching_profile(type_name: str, publishers: Sequence[TopicEndpointInfo]) -> QoSProfile:
    """Return the strictest profile of a subscription that matches all of the publishers."""
    offered = [publisher.qos_profile for publisher in publishers]
    reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
    transient_local = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=_IMAGE_DEPTH if type_name == IMAGE_TYPES[0] else _DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL
        if transient_local
        else DurabilityPolicy.VOLATILE,
    )


def offered_profiles_yaml(publishers: Sequence[TopicEndpointInfo]) -> str:
    """Return the publishers' quality of service in the YAML that rosbag2 writes into bags."""
    return str(yaml.safe_dump([_profile(p.qos_profile) for p in publishers], sort_keys=False))


def _profile(qos: QoSProfile) -> dict[str, Any]:
    return {
        "history": qos.history.name.lower(),
        "depth": qos.depth,
        "reliability": qos.reliability.name.lower(),
        "durability": qos.durability.name.lower(),
        "deadline": _duration(qos.deadline),
        "lifespan": _duration(qos.lifespan),
        "liveliness": qos.liveliness.name.lower(),
        "liveliness_lease_duration": _duration(qos.liveliness_lease_duration),
        "avoid_ros_namespace_conventions": qos.avoid_ros_namespace_conventions,
    }


def _duration(duration: Duration) -> dict[str, int]:
    seconds, nanoseconds = divmod(duration.nanoseconds, NS_PER_S)
    return {"sec": seconds, "nsec": nanoseconds}
