"""A narrator that lives by /clock, as when a bag is played."""

from __future__ import annotations

import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from streamingvlm_ros.msg import Narration

from streamingvlm_ros.ros.conversions import to_message, to_time

from .peer import TINY, Peer, reliable
from .test_narrator import PICTURE, S


def test_patience_and_latency_are_in_simulated_time(peer: Peer) -> None:
    parameters = {**TINY, **reliable("/image"), "use_sim_time": "true", "max_new_tokens": 4}
    with peer.process("narrator", **parameters):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        peer.wait_for_status(lambda v: v["state"] == "active")
        clock, camera = peer.publisher(Clock, "/clock"), peer.publisher(Image, "/image")

        def tick(now_ns: int) -> None:
            clock.publish(Clock(clock=to_time(now_ns)))
            peer.diagnostics.wait(
                lambda m: m.header.stamp == to_time(now_ns), after=len(peer.diagnostics)
            )

        tick(100 * S)
        camera.publish(to_message(PICTURE, 100 * S, "camera"))
        peer.wait_for_status(lambda v: v["frames sampled"] == "1")
        # The chunk is open while the clock stands, however long that is, or is not far enough on.
        tick(101 * S + S // 4)
        assert len(narrations) == 0
        tick(102 * S)
        narration = narrations.wait()
        assert narration.frames == 1
        assert narration.latency == pytest.approx(2.0)
