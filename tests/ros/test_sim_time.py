"""A narrator that lives by /clock, as when a bag is played."""

from __future__ import annotations

import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from streamingvlm_ros.msg import Narration

from streamingvlm_ros.ros.conversions import to_message

from .peer import TINY, Peer, reliable
from .test_narrator import PICTURE, S


def test_patience_and_latency_are_in_simulated_time(peer: Peer) -> None:
    parameters = {**TINY, **reliable("/image"), "use_sim_time": "true", "max_new_tokens": 4}
    with peer.process("narrator", **parameters):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        peer.wait_for_status(lambda v: v["state"] == "active")
        clock, camera = peer.publisher(Clock, "/clock"), peer.publisher(Image, "/image")
        peer.tell_time(clock, 100 * S)
        camera.publish(to_message(PICTURE, 100 * S, "camera"))
        peer.wait_for_status(lambda v: v["frames sampled"] == "1")
        # The chunk is open while the clock stands, however long that is, or is not far enough on.
        peer.tell_time(clock, 101 * S + S // 4)
        assert len(narrations) == 0
        peer.tell_time(clock, 102 * S)
        narration = narrations.wait()
        assert narration.frames == 1
        assert narration.latency == pytest.approx(2.0)


def test_an_image_from_before_the_clock_began_is_not_an_old_one() -> None:
    parameters = {**TINY, **reliable("/image"), "use_sim_time": "true", "max_new_tokens": 4}
    with Peer() as peer, peer.process("narrator", **parameters):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        camera = peer.publisher(Image, "/image")
        camera.publish(to_message(PICTURE, 1_700_000_000 * S, "camera"))
        peer.wait_for_status(lambda v: v["frames sampled"] == "1")
        peer.tell_time(peer.publisher(Clock, "/clock"), 1_700_000_000 * S)
        camera.publish(to_message(PICTURE, 1_700_000_000 * S + S // 2, "camera"))
        assert narrations.wait().frames == 2
