"""The node `synthetic_camera`: images of the synthetic world, and their true captions."""

from __future__ import annotations

import sys

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from streamingvlm_ros.msg import Narration

from ... import types
from ...demo.world import World
from ...types import NS_PER_S
from .. import params, qos
from ..config import CameraConfig
from ..messages import compressed_image_message, drop_on_timeout, image_message, narration_message
from ..process import run


class SyntheticCamera(Node):
    """Publishes images from the next whole second of its clock on, which is the world's second 0.

    Image i is stamped exactly i / rate_hz seconds later. A machine too slow for the rate skips
    images; the others keep their times.
    """

    def __init__(self) -> None:
        super().__init__("synthetic_camera")
        self._config = params.declare_all(self, CameraConfig)
        self._world = World(self._config.seed, self._config.new_things)
        raw = self._config.image_transport == "raw"
        self._image_message = image_message if raw else compressed_image_message
        topic = qos.image_topic(self, self._config.image_transport)
        self._images = self.create_publisher(
            Image if raw else CompressedImage, topic, qos.PUBLISHED
        )
        self._truth = self.create_publisher(Narration, "~/truth", qos.PUBLISHED)
        self._start_ns, self._last, self._second = 0, -1, -1
        wait_ns = -self._now_ns() % NS_PER_S
        self._timer = self.create_timer(wait_ns / NS_PER_S, self._start)

    def _start(self) -> None:
        """Start the frame timer. ROS timers don't drift: they keep their first phase."""
        self.destroy_timer(self._timer)
        self._start_ns = round(self._now_ns() / NS_PER_S) * NS_PER_S
        self._timer = self.create_timer(1.0 / self._config.rate_hz, self._publish_image)
        self._publish_image()

    def _publish_image(self) -> None:
        """Publish the image that is due, and with the first of each second its caption."""
        due = round((self._now_ns() - self._start_ns) * self._config.rate_hz / NS_PER_S)
        if due <= self._last:
            return
        self._last = due
        t_s = due / self._config.rate_hz
        stamp_ns = self._start_ns + round(t_s * NS_PER_S)
        image = self._world.frame(t_s, self._config.height_px, self._config.width_px)
        with drop_on_timeout():
            self._images.publish(
                self._image_message(image, stamp_ns, frame_id=self._config.frame_id)
            )
        if int(t_s) != self._second:
            self._second = int(t_s)
            self._publish_truth(stamp_ns)

    def _publish_truth(self, stamp_ns: int) -> None:
        start_ns = self._start_ns + self._second * NS_PER_S
        truth = types.Narration(
            self._world.caption(self._second),
            start_ns,
            start_ns + NS_PER_S,
            newest_ns=stamp_ns,
            frame_id=self._config.frame_id,
            sequence=self._second,
        )
        with drop_on_timeout():
            self._truth.publish(narration_message(truth))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main() -> int:
    """Run `ros2 run streamingvlm_ros synthetic_camera`."""
    return run(SyntheticCamera, lambda node: None)


if __name__ == "__main__":
    sys.exit(main())
