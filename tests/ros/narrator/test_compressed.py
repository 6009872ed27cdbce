"""A narrator of compressed images, and a publisher with incompatible QoS."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from streamingvlm_ros.msg import Narration

from streamingvlm_ros.ros.messages import compressed_image_message
from streamingvlm_ros.types import NS_PER_S as S

from ..narrator_client import PICTURE
from ..ros_peer import TINY, Peer, reliable

TOPIC = "/image/compressed"


def test_compressed_images_are_narrated_and_broken_ones_are_skipped(peer: Peer) -> None:
    with peer.process(
        "narrator", **TINY, **reliable(TOPIC), image_transport="compressed", max_new_tokens=4
    ) as process:
        narrations = peer.subscribe(Narration, "/narrator/narration")
        peer.wait_for_status(lambda v: v["state"] == "active")
        expect_incompatible_publisher_in_log(peer, process.log)
        publisher = peer.publisher(CompressedImage, TOPIC)

        def publish(stamp_ns: int, size: int | None = None) -> None:
            message = compressed_image_message(PICTURE, stamp_ns, frame_id="camera")
            message.data = message.data[:size]
            publisher.publish(message)

        publish(100 * S)
        publish(100 * S + S // 2)
        assert narrations.wait().frames == 2
        # A truncated JPEG costs its own frame and no other.
        publish(101 * S)
        publish(101 * S + S // 2, size=900)
        assert narrations.wait(lambda m: m.start.sec == 101).frames == 1
        # A chunk of broken images alone doesn't stop the node, either.
        publish(102 * S, size=900)
        publish(102 * S + S // 2, size=0)
        publish(102 * S + S // 2 + 1, size=30)
        publish(103 * S)
        publish(103 * S + S // 2)
        assert narrations.wait(lambda m: m.start.sec >= 102).start.sec == 103
        peer.wait_for_status(lambda v: v.get("frames bad: compressed") == "3")
        peer.wait_for_status(lambda v: v.get("frames bad: size") == "1")
        assert "truncated" in process.log()


def expect_incompatible_publisher_in_log(peer: Peer, log: Callable[[], str]) -> None:
    """A best-effort publisher, which a reliable subscription can't match, is named in the log."""
    unreliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = peer.node.create_publisher(CompressedImage, TOPIC, unreliable)
    peer.until(lambda: "its reliability is incompatible" in log())
    assert f"qos_overrides.{TOPIC}.subscription.reliability" in log()
    peer.node.destroy_publisher(publisher)
