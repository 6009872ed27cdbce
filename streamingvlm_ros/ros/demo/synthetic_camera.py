"""The node `synthetic_camera`: the synthetic world as a camera's images, and the truth about it."""

from __future__ import annotations

import sys

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from streamingvlm_ros.msg import Narration

from ...demo.world import World
from ...types import NS_PER_S
from .. import params, qos
from ..config import CameraConfig
from ..conversions import to_compressed, to_message, to_time
from ..process import run
from ..publishing import drop_on_timeout


class SyntheticCamera(Node):
    """Films from the next whole second of its clock on: there the world's second 0 begins.

    Image i is stamped exactly i / rate_hz seconds after that. When the machine is too slow for
    the rate, images are left out; the others keep their time.
    """

    def __init__(self) -> None:
        super().__init__("synthetic_camera")
        self._config = params.declare_all(self, CameraConfig)
        self._world = World(self._config.seed, self._config.new_things)
        raw = self._config.image_transport == "raw"
        self._to_message = to_message if raw else to_compressed
        topic = qos.image_topic(self, self._config.image_transport)
        self._images = self.create_publisher(
            Image if raw else CompressedImage, topic, qos.PUBLISHED
        )
        self._truth = self.create_publisher(Narration, "~/truth", qos.PUBLISHED)
        self._start_ns, self._last, self._second = 0, -1, -1
        wait_ns = -self._now_ns() % NS_PER_S
        self._timer = self.create_timer(wait_ns / NS_PER_S, self._begin)

    def _begin(self) -> None:
        """Start the clockwork. ROS timers don't drift: they keep the phase they begin with."""
        self.destroy_timer(self._timer)
        self._start_ns = round(self._now_ns() / NS_PER_S) * NS_PER_S
        self._timer = self.create_timer(1.0 / self._config.rate_hz, self._film)
        self._film()

    def _film(self) -> None:
        """Publish the image that is due, and with the first of a second its truth."""
        due = round((self._now_ns() - self._start_ns) * self._config.rate_hz / NS_PER_S)
        if due <= self._last:
            return
        self._last = due
        t_s = due / self._config.rate_hz
        stamp_ns = self._start_ns + round(t_s * NS_PER_S)
        image = self._world.frame(t_s, self._config.height_px, self._config.width_px)
        with drop_on_timeout():
            self._images.publish(self._to_message(image, stamp_ns, self._config.frame_id))
        if int(t_s) != self._second:
            self._second = int(t_s)
            self._tell(stamp_ns)

    def _tell(self, stamp_ns: int) -> None:
        start_ns = self._start_ns + self._second * NS_PER_S
        text = self._world.caption(self._second)
        truth = Narration(
            start=to_time(start_ns),
            end=to_time(start_ns + NS_PER_S),
            text=text,
            silent=not text,
            sequence=self._second,
        )
        truth.header.stamp, truth.header.frame_id = to_time(stamp_ns), self._config.frame_id
        with drop_on_timeout():
            self._truth.publish(truth)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main() -> int:
    """`ros2 run streamingvlm_ros synthetic_camera`."""
    return run(SyntheticCamera, lambda node: None)


if __name__ == "__main__":
    sys.exit(main())
