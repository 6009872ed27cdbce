"""Receives the demo camera's true captions and the narrator's narrations."""

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
from ...types import NS_PER_S, to_ns
from ..process import MAX_SPIN_S


@dataclass(frozen=True, slots=True)
class TrueSecond:
    """The true caption of the second from `start_ns`."""

    start_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class NarratedSecond:
    """The narration of the second from `start_ns`, received `lag_s` after its newest frame."""

    start_ns: int
    text: str
    lag_s: float
    dropped: int


class Listener:
    """Queues what it receives in a thread of its own; `next` returns it in order."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._seconds: SimpleQueue[TrueSecond | NarratedSecond] = SimpleQueue()
        self._image: Image | None = None
        node.create_subscription(Narration, "synthetic_camera/truth", self._on_truth, 10)
        node.create_subscription(Narration, "narrator/narration", self._on_narration, 10)

    def subscribe_images(self) -> None:
        """Receive the camera's images, too, for `picture`."""
        self._node.create_subscription(Image, "image", self._on_image, qos_profile_sensor_data)

    def next(self, timeout_s: float) -> TrueSecond | NarratedSecond | None:
        """Return the next second received; None if nothing comes within `timeout_s`."""
        try:
            return self._seconds.get(timeout=timeout_s)
        except Empty:
            return None

    def picture(self) -> types.Image | None:
        """Return the newest image; None before the first."""
        return None if self._image is None else to_array(self._image)

    def neighbours(self) -> list[str]:
        """Return the names of the other nodes discovered in this node's namespace."""
        own = (self._node.get_name(), self._node.get_namespace())
        nodes = self._node.get_node_names_and_namespaces()
        nodes.remove(own)
        return [name for name, namespace in nodes if namespace == own[1]]

    def _on_truth(self, message: Narration) -> None:
        self._seconds.put(TrueSecond(to_ns(message.start), message.text))

    def _on_narration(self, message: Narration) -> None:
        lag_ns = self._node.get_clock().now().nanoseconds - to_ns(message.header.stamp)
        start_ns, lag_s = to_ns(message.start), lag_ns / NS_PER_S
        self._seconds.put(NarratedSecond(start_ns, message.text, lag_s, message.dropped))

    def _on_image(self, message: Image) -> None:
        self._image = message


@contextmanager
def open_listener(namespace: str) -> Iterator[Listener]:
    """Yield a listener in `namespace`.

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
            executor.spin_once(timeout_sec=MAX_SPIN_S)
