"""Hears what the demo's camera says is true and what its narrator says, as any node could."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from streamingvlm_ros.msg import Narration

from ... import types
from ...frames.image_decoding import to_array
from ...types import NS_PER_S
from ..conversions import to_ns
from ..process import LONGEST_WAIT_S


@dataclass(frozen=True, slots=True)
class Truth:
    """What really happens in the second from `start_ns`."""

    start_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """What was narrated of the second from `start_ns`, and how long after its newest frame."""

    start_ns: int
    text: str
    lag_s: float
    dropped: int


class Listener:
    """Receives in a thread of its own; `next` hands out, in order, what was received."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._heard: SimpleQueue[Truth | Said] = SimpleQueue()
        self._image: Image | None = None
        node.create_subscription(Narration, "synthetic_camera/truth", self._on_truth, 10)
        node.create_subscription(Narration, "narrator/narration", self._on_narration, 10)

    def watch(self) -> None:
        """From now on receive the camera's images too, for `picture`."""
        self._node.create_subscription(Image, "image", self._on_image, qos_profile_sensor_data)

    def next(self, timeout_s: float) -> Truth | Said | None:
        """The next thing heard, or None if there is nothing for `timeout_s`."""
        try:
            return self._heard.get(timeout=timeout_s)
        except Empty:
            return None

    def picture(self) -> types.Image | None:
        """The newest image; None before the first."""
        return None if self._image is None else to_array(self._image)

    def neighbours(self) -> list[str]:
        """Names of other nodes in this node's namespace, as far as discovery has got."""
        here = self._node.get_namespace()
        nodes = [
            name for name, where in self._node.get_node_names_and_namespaces() if where == here
        ]
        nodes.remove(self._node.get_name())
        return nodes

    def _on_truth(self, message: Narration) -> None:
        self._heard.put(Truth(to_ns(message.start), message.text))

    def _on_narration(self, message: Narration) -> None:
        lag_ns = self._node.get_clock().now().nanoseconds - to_ns(message.header.stamp)
        start_ns, lag_s = to_ns(message.start), lag_ns / NS_PER_S
        self._heard.put(Said(start_ns, message.text, lag_s, message.dropped))

    def _on_image(self, message: Image) -> None:
        self._image = message


@contextmanager
def listening(namespace: str) -> Iterator[Listener]:
    """A listener in `namespace`, for as long as the block lasts.

    It has a ROS context of its own and leaves signals to the program.
    """
    context = Context()
    rclpy.init(context=context)
    node = Node("demo", namespace=namespace, context=context)
    listener = Listener(node)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    ended = threading.Event()
    thread = threading.Thread(target=_spin, args=(executor, ended), name="listener", daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        ended.set()
        executor.shutdown()
        thread.join()
        node.destroy_node()
        context.try_shutdown()


def _spin(executor: SingleThreadedExecutor, ended: threading.Event) -> None:
    with suppress(ExternalShutdownException):
        while not ended.is_set():
            executor.spin_once(timeout_sec=LONGEST_WAIT_S)
