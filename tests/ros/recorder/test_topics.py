"""Topics that are recorded by default, and the QoS of their subscriptions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from rclpy.duration import Duration, Infinite
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from streamingvlm_ros.ros.recorder.subscriptions import GapCounter
from streamingvlm_ros.ros.recorder.topics import (
    matching_profile,
    message_class,
    offered_profiles_yaml,
    recorded_topics,
)

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
TRANSIENT_LOCAL, VOLATILE = DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE
NARRATION = "streamingvlm_ros/msg/Narration"
STRING = "std_msgs/msg/String"


def publisher(reliability: Any = RELIABLE, durability: Any = VOLATILE) -> Any:
    profile = QoSProfile(depth=5, reliability=reliability, durability=durability)
    return SimpleNamespace(qos_profile=profile)


def test_default_topics_are_chosen_by_type_and_name() -> None:
    recorded = {
        "/front/image_raw": "sensor_msgs/msg/Image",
        "/front/image_raw/compressed": "sensor_msgs/msg/CompressedImage",
        "/front/camera_info": "sensor_msgs/msg/CameraInfo",
        "/r2/narrator/narration": NARRATION,
        "/r2/narrator/text": STRING,
        "/r2/narrator/answer": "streamingvlm_ros/msg/Answer",
        "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
        "/tf": "tf2_msgs/msg/TFMessage",
        "/tf_static": "tf2_msgs/msg/TFMessage",
    }
    others = {
        "/chatter": STRING,
        "/other/text": STRING,
        "/r2/narrator/annotated/compressed": "sensor_msgs/msg/CompressedImage",
        "/r3/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
        "/points": "sensor_msgs/msg/PointCloud2",
    }
    assert recorded_topics({**others, **recorded}) == list(recorded)


@pytest.mark.parametrize(
    ("publishers", "reliability", "durability"),
    [
        ([publisher(RELIABLE)], RELIABLE, VOLATILE),
        ([publisher(RELIABLE), publisher(BEST_EFFORT)], BEST_EFFORT, VOLATILE),
        ([publisher(RELIABLE, TRANSIENT_LOCAL)], RELIABLE, TRANSIENT_LOCAL),
        ([publisher(RELIABLE, TRANSIENT_LOCAL), publisher(RELIABLE)], RELIABLE, VOLATILE),
    ],
)
def test_a_subscription_matches_all_publishers(
    publishers: list[Any], reliability: Any, durability: Any
) -> None:
    profile = matching_profile("sensor_msgs/msg/Image", publishers)
    assert (profile.reliability, profile.durability) == (reliability, durability)


def test_offered_profiles_read_as_rosbag2_writes_them() -> None:
    profiles = yaml.safe_load(
        offered_profiles_yaml([publisher(BEST_EFFORT), publisher(RELIABLE, TRANSIENT_LOCAL)])
    )
    assert [p["reliability"] for p in profiles] == ["best_effort", "reliable"]
    assert [p["durability"] for p in profiles] == ["volatile", "transient_local"]
    assert (profiles[0]["history"], profiles[0]["depth"]) == ("keep_last", 5)
    endless = SimpleNamespace(qos_profile=QoSProfile(depth=1, lifespan=Infinite))
    (profile,) = yaml.safe_load(offered_profiles_yaml([endless]))
    assert profile["lifespan"] == {"sec": 9223372036, "nsec": 854775807}
    brief = SimpleNamespace(qos_profile=QoSProfile(depth=1, deadline=Duration(nanoseconds=1500)))
    assert yaml.safe_load(offered_profiles_yaml([brief]))[0]["deadline"] == {"sec": 0, "nsec": 1500}


@pytest.mark.parametrize("kind", ["no_such_msgs/msg/Thing", "std_msgs/msg/NoSuchThing", "odd", ""])
def test_a_type_that_is_not_installed_raises(kind: str) -> None:
    with pytest.raises(ImportError):
        message_class(kind)


def test_missing_messages_are_counted_for_each_publisher() -> None:
    gap_counter = GapCounter()

    def missing(publisher: bytes, number: int | None) -> int:
        info = {"publisher_gid": {"data": publisher}, "publication_sequence_number": number}
        return gap_counter.missing_before(info)

    # What a publisher sent before the first message received is not missing.
    assert [missing(b"a", n) for n in (7, 8, 11, 12)] == [0, 0, 2, 0]
    assert [missing(b"b", n) for n in (1, 2, 5)] == [0, 0, 2]
    assert missing(b"a", 14) == 1
    # Transient-local messages are sent again.
    assert [missing(b"a", n) for n in (14, 3, 15)] == [0, 0, 0]
    assert missing(b"c", None) == 0
    assert gap_counter.missing_before({}) == 0
