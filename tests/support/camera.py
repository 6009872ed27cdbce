"""A camera that publishes to a narrator in another process."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image
from streamingvlm_ros.msg import Narration

from streamingvlm_ros.ros.messages import image_message
from streamingvlm_ros.types import NS_PER_S

from ..ros.ros_peer import Peer

PICTURE = np.random.default_rng(0).integers(0, 255, (56, 56, 3), np.uint8)


def publish_seconds(peer: Peer, *seconds: int) -> None:
    """Publish two images for each of these seconds."""
    publisher = peer.publisher(Image, "/image")
    stamps_ns = [second * NS_PER_S + half * NS_PER_S // 2 for second in seconds for half in (0, 1)]
    for message in [image_message(PICTURE, stamp_ns, frame_id="camera") for stamp_ns in stamps_ns]:
        publisher.publish(message)
    publisher.wait_for_all_acked()
    peer.node.destroy_publisher(publisher)


def publish_until_narrated(peer: Peer, *seconds: int) -> None:
    """Publish these seconds and wait for the narration of the last."""
    narrations = peer.subscribe(Narration, "/narrator/narration")
    publish_seconds(peer, *seconds)
    narrations.wait(lambda message: message.start.sec == seconds[-1])
