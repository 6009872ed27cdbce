"""What other tests rest on: a node of their own, which lives as long as they do."""

from __future__ import annotations

import itertools

from rclpy.action import ActionServer
from streamingvlm_ros.action import Ask

from .peer import Peer


def test_what_a_test_destroys_does_not_end_the_peer(peer: Peer) -> None:
    for _ in range(300):
        server = ActionServer(peer.node, Ask, "~/ask", lambda goal: Ask.Result())
        peer.node.executor.wake()
        server.destroy()
    looks = itertools.count()
    peer.until(lambda: next(looks))
