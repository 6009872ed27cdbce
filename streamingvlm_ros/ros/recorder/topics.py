"""Which topics are recorded, and how they are subscribed: as their publishers offer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import yaml
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from ...bags.types import ANSWER_TYPE, IMAGE_TYPES, NARRATION_TYPE

TYPES = (*IMAGE_TYPES, "sensor_msgs/msg/CameraInfo", NARRATION_TYPE, ANSWER_TYPE)
"""All topics of these types are recorded."""

NAMES = {
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
}
"""And these topics."""

BESIDE = {"text": "std_msgs/msg/String"}
"""And what has such a name beside a narration."""

NOT_BESIDE = ("annotated/compressed",)
"""But not this: the camera's images and the words are there, and it is drawn only for watchers."""

_IMAGE_DEPTH, _DEPTH = 30, 1000
"""Messages that may wait for the recorder when it is kept from running: raw images are large."""


def chosen(there: Mapping[str, str]) -> list[str]:
    """The names of those topics that are recorded, of all (name: type) that there are."""
    narrators = [name.rpartition("/")[0] for name, kind in there.items() if kind == NARRATION_TYPE]
    beside = {f"{at}/{name}": kind for at in narrators for name, kind in BESIDE.items()}
    named = {**NAMES, **beside}
    never = {f"{at}/{name}" for at in narrators for name in NOT_BESIDE}
    return [
        name
        for name, kind in there.items()
        if (kind in TYPES or named.get(name) == kind) and name not in never
    ]


def message_class(kind: str) -> Any:
    """The Python class of a type such as 'std_msgs/msg/String'. ImportError if there is none."""
    package, _, name = kind.partition("/msg/")
    if not package.isidentifier():
        raise ImportError(f"{kind!r} is no type of a message")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except AttributeError as error:
        raise ImportError(f"{package} has no message {name}") from error


def fitting(kind: str, publishers: Sequence[TopicEndpointInfo]) -> QoSProfile:
    """What hears all of the publishers, and as much of each as it gives to those that do."""
    offered = [publisher.qos_profile for publisher in publishers]
    reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
    transient_local = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=_IMAGE_DEPTH if kind == IMAGE_TYPES[0] else _DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL
        if transient_local
        else DurabilityPolicy.VOLATILE,
    )


def offered(publishers: Sequence[TopicEndpointInfo]) -> str:
    """The publishers' quality of service, in the YAML that rosbag2 puts into bags."""
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
    seconds, nanoseconds = divmod(duration.nanoseconds, 10**9)
    return {"sec": seconds, "nsec": nanoseconds}
