"""A narrator in simulated time, as when a bag is played."""

from __future__ import annotations

import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from streamingvlm_ros.msg import Narration

from streamingvlm_ros.ros.messages import image_message
from streamingvlm_ros.types import NS_PER_S as S

from ..narrator_client import PICTURE
from ..ros_peer import TINY, Peer, reliable


def test_chunk_expiry_and_latency_use_simulated_time(peer: Peer) -> None:
    parameters = {**TINY, **reliable("/image"), "use_sim_time": "true", "max_new_tokens": 4}
    with peer.process("narrator", **parameters):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        peer.wait_for_status(lambda v: v["state"] == "active")
        clock, camera = peer.publisher(Clock, "/clock"), peer.publisher(Image, "/image")
        peer.publish_time(clock, 100 * S)
        camera.publish(image_message(PICTURE, 100 * S, frame_id="camera"))
        peer.wait_for_status(lambda v: v["frames sampled"] == "1")
        # The chunk stays open while the clock stands still or has not passed its end by enough.
        peer.publish_time(clock, 101 * S + S // 4)
        assert len(narrations) == 0
        peer.publish_time(clock, 102 * S)
        narration = narrations.wait()
        assert narration.frames == 1
        assert narration.latency == pytest.approx(2.0)


def test_an_image_before_the_first_clock_message_is_not_late() -> None:
    parameters = {**TINY, **reliable("/image"), "use_sim_time": "true", "max_new_tokens": 4}
    with Peer() as peer, peer.process("narrator", **parameters):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        camera = peer.publisher(Image, "/image")
        camera.publish(image_message(PICTURE, 1_700_000_000 * S, frame_id="camera"))
        peer.wait_for_status(lambda v: v["frames sampled"] == "1")
        peer.publish_time(peer.publisher(Clock, "/clock"), 1_700_000_000 * S)
        camera.publish(image_message(PICTURE, 1_700_000_000 * S + S // 2, frame_id="camera"))
        assert narrations.wait().frames == 2
