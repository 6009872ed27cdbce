"""Which topics are recorded, and how they are subscribed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from rclpy.duration import Duration, Infinite
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from streamingvlm_ros.ros.recorder.subscriptions import Gaps
from streamingvlm_ros.ros.recorder.topics import chosen, fitting, message_class, offered

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
LATCHED, VOLATILE = DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE
NARRATION = "streamingvlm_ros/msg/Narration"
STRING = "std_msgs/msg/String"


def publisher(reliability: Any = RELIABLE, durability: Any = VOLATILE) -> Any:
    profile = QoSProfile(depth=5, reliability=reliability, durability=durability)
    return SimpleNamespace(qos_profile=profile)


def test_what_the_robot_sees_and_says_is_found_by_type_and_name() -> None:
    there = {
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
    assert chosen({**others, **there}) == list(there)


@pytest.mark.parametrize(
    ("publishers", "reliability", "durability"),
    [
        ([publisher(RELIABLE)], RELIABLE, VOLATILE),
        ([publisher(RELIABLE), publisher(BEST_EFFORT)], BEST_EFFORT, VOLATILE),
        ([publisher(RELIABLE, LATCHED)], RELIABLE, LATCHED),
        ([publisher(RELIABLE, LATCHED), publisher(RELIABLE)], RELIABLE, VOLATILE),
    ],
)
def test_a_subscription_hears_all_publishers(
    publishers: list[Any], reliability: Any, durability: Any
) -> None:
    profile = fitting("sensor_msgs/msg/Image", publishers)
    assert (profile.reliability, profile.durability) == (reliability, durability)


def test_what_is_offered_reads_as_rosbag2_writes_it() -> None:
    profiles = yaml.safe_load(offered([publisher(BEST_EFFORT), publisher(RELIABLE, LATCHED)]))
    assert [p["reliability"] for p in profiles] == ["best_effort", "reliable"]
    assert [p["durability"] for p in profiles] == ["volatile", "transient_local"]
    assert (profiles[0]["history"], profiles[0]["depth"]) == ("keep_last", 5)
    endless = SimpleNamespace(qos_profile=QoSProfile(depth=1, lifespan=Infinite))
    (profile,) = yaml.safe_load(offered([endless]))
    assert profile["lifespan"] == {"sec": 9223372036, "nsec": 854775807}
    brief = SimpleNamespace(qos_profile=QoSProfile(depth=1, deadline=Duration(nanoseconds=1500)))
    assert yaml.safe_load(offered([brief]))[0]["deadline"] == {"sec": 0, "nsec": 1500}


@pytest.mark.parametrize("kind", ["no_such_msgs/msg/Thing", "std_msgs/msg/NoSuchThing", "odd", ""])
def test_a_type_that_is_not_installed_has_no_class(kind: str) -> None:
    with pytest.raises(ImportError):
        message_class(kind)


def test_what_is_missing_is_counted_for_each_publisher() -> None:
    gaps = Gaps()

    def missed(publisher: bytes, number: int | None) -> int:
        about = {"publisher_gid": {"data": publisher}, "publication_sequence_number": number}
        return gaps.missed(about)

    # Who joins late has missed nothing of it.
    assert [missed(b"a", n) for n in (7, 8, 11, 12)] == [0, 0, 2, 0]
    assert [missed(b"b", n) for n in (1, 2, 5)] == [0, 0, 2]
    assert missed(b"a", 14) == 1
    # A latched message comes again.
    assert [missed(b"a", n) for n in (14, 3, 15)] == [0, 0, 0]
    assert missed(b"c", None) == 0
    assert gaps.missed({}) == 0
