"""A node in this process that tests use to talk to nodes in other processes.

Everything waits for events; nothing sleeps.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from streamingvlm_ros.ros.messages import to_time
from streamingvlm_ros.ros.process import spin

from .node_process import PATIENCE_S, ROOT, Process

CHECKPOINT = ROOT / "tests" / "data" / "parity" / "checkpoint"
TINY = {"model": str(CHECKPOINT), "min_frame_tokens": 1, "max_frame_tokens": 4}
"""Parameters of a narrator that loads and narrates quickly; its text makes no sense."""


def reliable(topic: str) -> dict[str, Any]:
    """Return parameters with which a narrator loses no image of `topic`.

    Tests publish faster than a camera, and as soon as they have discovered the subscription.
    Best-effort images that arrive before the subscription has discovered them would be lost.
    """
    override = f"qos_overrides.{topic}.subscription"
    return {f"{override}.reliability": "reliable", f"{override}.depth": 100}


_domains = itertools.count(os.getpid())

T = TypeVar("T")


def own_domain() -> tuple[int, socket.socket]:
    """Return a ROS domain that no other test on this machine uses until the socket is closed."""
    for number in _domains:
        # The ports of domains up to 101 are below Linux's ephemeral ports.
        domain, mark = 10 + number % 90, socket.socket()
        with suppress(OSError):
            mark.bind(("127.0.0.1", 2300 + domain))
            return domain, mark
        mark.close()
    raise AssertionError


class Topic:
    """All messages of a topic since its subscription, in order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._messages: list[Any] = []
        self._changed = threading.Condition()

    def add(self, message: Any) -> None:
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._messages)

    def wait(self, matches: Callable[[Any], Any] = lambda _: True, after: int = 0) -> Any:
        """Wait for the first message from number `after` on that matches, and return it."""

        def first_match() -> Any:
            return next((m for m in self._messages[after:] if matches(m)), None)

        with self._changed:
            assert self._changed.wait_for(first_match, PATIENCE_S), (
                f"no matching message on {self._name}; the last one: {self._messages[-1:]}"
            )
            return first_match()

    def all(self, after: int = 0) -> list[Any]:
        return self._messages[after:]


class Peer:
    """A node in a domain of its own, spun by a thread."""

    def __init__(self) -> None:
        self.domain, self._mark = own_domain()
        self._context = Context()
        rclpy.init(context=self._context, domain_id=self.domain)
        self.node = Node("peer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[tuple[type, str], Any] = {}
        self._signals: list[int] = []
        # As real nodes spin: what a test destroys meanwhile doesn't end the thread.
        self._thread = threading.Thread(
            target=spin, args=(self._executor, self._signals), kwargs={"ended": threading.Event()}
        )

    def __enter__(self) -> Peer:
        self._thread.start()
        self.diagnostics = self.subscribe(DiagnosticArray, "/diagnostics")
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._signals.append(signal.SIGINT)
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()
        self._mark.close()

    @contextmanager
    def process(self, module: str, **parameters: Any) -> Iterator[Process]:
        """Run a node for the block; then it must stop cleanly on SIGINT."""
        process = Process(module, parameters, domain=self.domain)
        try:
            yield process
        except BaseException:
            print(process.log())
            raise
        finally:
            code = process.end()
        assert code == 0, process.log()
        assert "Traceback" not in process.log(), process.log()

    def subscribe(self, kind: type, topic: str, *, qos: QoSProfile | int = 100) -> Topic:
        messages = Topic(topic)
        self.node.create_subscription(kind, topic, messages.add, qos)
        return messages

    def publisher(self, kind: type, topic: str, *, qos: QoSProfile | int = 100) -> Any:
        """Return a publisher that has discovered a subscriber."""
        publisher = self.node.create_publisher(kind, topic, qos)
        self.until(publisher.get_subscription_count)
        return publisher

    def call(self, kind: type, service: str, request: Any) -> Any:
        # Clients are reused: a reply to a client that the service has not discovered is lost.
        if (kind, service) not in self._clients:
            self._clients[kind, service] = self.node.create_client(kind, service)
        client = self._clients[kind, service]
        assert client.wait_for_service(PATIENCE_S), f"no service {service}"
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        assert done.wait(PATIENCE_S), f"{service} did not reply"
        return future.result()

    def until(self, condition: Callable[[], T]) -> T:
        """Wait until `condition()` is true, and return it; checks 50 times a second."""
        deadline = time.monotonic() + PATIENCE_S
        tick = threading.Event()
        timer = self.node.create_timer(0.02, tick.set)
        try:
            while not (result := condition()):
                tick.clear()
                left_s = max(0.0, deadline - time.monotonic())
                assert tick.wait(left_s), "the condition never became true"
            return result
        finally:
            self.node.destroy_timer(timer)

    def publish_time(self, clock: Any, now_ns: int) -> None:
        """Publish a simulated time again and again until the node under test has it."""
        now = to_time(now_ns)
        timer = self.node.create_timer(0.05, lambda: clock.publish(Clock(clock=now)))
        self.diagnostics.wait(lambda m: m.header.stamp == now, after=len(self.diagnostics))
        self.node.destroy_timer(timer)

    def wait_for_status(
        self, matches: Callable[[dict[str, str]], Any], after: int = 0
    ) -> dict[str, str]:
        """Wait for diagnostic values that match, and return them."""
        return values(self.diagnostics.wait(lambda message: matches(values(message)), after))

    def next_status(self) -> dict[str, str]:
        """Wait for the next diagnostic values, and return them."""
        return self.wait_for_status(bool, after=len(self.diagnostics))


def values(message: DiagnosticArray) -> dict[str, str]:
    """Return the status's values by key, and its message under `message`."""
    (status,) = message.status
    return {"message": status.message, **{item.key: item.value for item in status.values}}


@contextmanager
def local_node(**parameters: Any) -> Iterator[Node]:
    """Run the block with a node in this process that has parameters from the command line."""
    arguments = ["--ros-args"]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={value}"]
    domain, mark = own_domain()
    context = Context()
    rclpy.init(args=arguments, context=context, domain_id=domain)
    node = Node("local", context=context)
    with mark:
        try:
            yield node
        finally:
            node.destroy_node()
            context.try_shutdown()
