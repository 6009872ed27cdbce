"""The tests' own node keeps running."""

from __future__ import annotations

import itertools

from rclpy.action import ActionServer
from streamingvlm_ros.action import Ask

from .ros_peer import Peer


def test_destroying_entities_does_not_end_the_peer(peer: Peer) -> None:
    for _ in range(300):
        server = ActionServer(peer.node, Ask, "~/ask", lambda goal: Ask.Result())
        peer.node.executor.wake()
        server.destroy()
    checks = itertools.count()
    peer.until(lambda: next(checks))
