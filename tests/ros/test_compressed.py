"""A narrator of compressed images, and one whose publisher it can't hear."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from streamingvlm_ros.msg import Narration

from streamingvlm_ros.ros.conversions import to_compressed

from .peer import TINY, Peer, reliable
from .test_narrator import PICTURE, S

TOPIC = "/image/compressed"


def test_compressed_images(peer: Peer) -> None:
    with peer.process(
        "narrator", **TINY, **reliable(TOPIC), image_transport="compressed", max_new_tokens=4
    ) as process:
        narrations = peer.subscribe(Narration, "/narrator/narration")
        peer.wait_for_status(lambda v: v["state"] == "active")
        offer_unreliably(peer, process.log)
        publisher = peer.publisher(CompressedImage, TOPIC)

        def publish(stamp_ns: int, keep: int | None = None) -> None:
            message = to_compressed(PICTURE, stamp_ns, "camera")
            message.data = message.data[:keep]
            publisher.publish(message)

        publish(100 * S)
        publish(100 * S + S // 2)
        assert narrations.wait().frames == 2
        # A truncated JPEG costs its own frame and no other.
        publish(101 * S)
        publish(101 * S + S // 2, keep=900)
        assert narrations.wait(lambda m: m.start.sec == 101).frames == 1
        # Nor does a chunk of nothing else stop the node.
        publish(102 * S, keep=900)
        publish(102 * S + S // 2, keep=0)
        publish(102 * S + S // 2 + 1, keep=30)
        publish(103 * S)
        publish(103 * S + S // 2)
        assert narrations.wait(lambda m: m.start.sec >= 102).start.sec == 103
        peer.wait_for_status(lambda v: v.get("frames bad: compressed") == "3")
        peer.wait_for_status(lambda v: v.get("frames bad: size") == "1")
        assert "truncated" in process.log()


def offer_unreliably(peer: Peer, log: Callable[[], str]) -> None:
    """A best-effort publisher that a reliable subscription can't hear is named in the log."""
    unreliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = peer.node.create_publisher(CompressedImage, TOPIC, unreliable)
    peer.until(lambda: "can't be heard: its reliability" in log())
    assert f"qos_overrides.{TOPIC}.subscription.reliability" in log()
    peer.node.destroy_publisher(publisher)
