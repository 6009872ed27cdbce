"""What tests talk to nodes with: everything waits for events, none of it sleeps."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from streamingvlm_ros.ros import process as running
from streamingvlm_ros.ros.conversions import to_time

ROOT = Path(__file__).parent.parent.parent
CHECKPOINT = ROOT / "tests" / "data" / "parity" / "checkpoint"
TINY = {"model": str(CHECKPOINT), "min_frame_tokens": 1, "max_frame_tokens": 4}
"""Parameters of a narrator that is loaded and narrates quickly, what it says making no sense."""


def reliable(topic: str) -> dict[str, Any]:
    """Parameters of a narrator that loses no image of `topic`.

    Tests publish faster than a camera, and as soon as they have found the subscription: as
    sensor data, what comes before the subscription has found them is lost.
    """
    override = f"qos_overrides.{topic}.subscription"
    return {f"{override}.reliability": "reliable", f"{override}.depth": 100}


PATIENCE_S = 60.0

_domains = itertools.count(os.getpid())

T = TypeVar("T")


def own_domain() -> tuple[int, socket.socket]:
    """A ROS domain in which nobody else on this machine tests, until the socket is closed."""
    for number in _domains:
        # Up to 101 the domains' ports are below those that Linux gives to other programs.
        domain, mark = 10 + number % 90, socket.socket()
        with suppress(OSError):
            mark.bind(("127.0.0.1", 2300 + domain))
            return domain, mark
        mark.close()
    raise AssertionError


class Topic:
    """Every message of a topic since it was subscribed, in order."""

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

    def wait(self, fits: Callable[[Any], Any] = lambda _: True, after: int = 0) -> Any:
        """The first message from number `after` on that fits."""

        def found() -> Any:
            return next((m for m in self._messages[after:] if fits(m)), None)

        with self._changed:
            assert self._changed.wait_for(found, PATIENCE_S), (
                f"nothing that fits came on {self._name}; the last: {self._messages[-1:]}"
            )
            return found()

    def all(self, after: int = 0) -> list[Any]:
        return self._messages[after:]


class Process:
    """A node in a process of its own."""

    def __init__(self, module: str, parameters: dict[str, Any], domain: int) -> None:
        arguments = ["--ros-args"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={value}"]
        with tempfile.NamedTemporaryFile(suffix=".log", delete=False) as log:
            self._log = Path(log.name)
            self.child = subprocess.Popen(
                [sys.executable, "-m", f"streamingvlm_ros.ros.{module}", *arguments],
                cwd=ROOT,
                env={**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self) -> int:
        """As Ctrl-C does. The exit code."""
        self.child.send_signal(signal.SIGINT)
        try:
            return self.child.wait(PATIENCE_S)
        finally:
            self.child.kill()


class Peer:
    """A node, spun by a thread, in a domain of its own."""

    def __init__(self) -> None:
        self.domain, self._mark = own_domain()
        self._context = Context()
        rclpy.init(context=self._context, domain_id=self.domain)
        self.node = Node("peer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[tuple[type, str], Any] = {}
        self._signals: list[int] = []
        # As nodes are spun: what a test destroys meanwhile is no reason to end.
        spun = (self._executor, self._signals, threading.Event())
        self._thread = threading.Thread(target=running._spin, args=spun)

    def __enter__(self) -> Peer:
        self._thread.start()
        self.diagnostics = self.subscribe(DiagnosticArray, "/diagnostics")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._signals.append(signal.SIGINT)
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()
        self._mark.close()

    @contextmanager
    def process(self, module: str, **parameters: Any) -> Iterator[Process]:
        """Run a node; at the end it must stop cleanly when asked to."""
        process = Process(module, parameters, self.domain)
        try:
            yield process
        except BaseException:
            print(process.log())
            raise
        finally:
            code = process.end()
        assert code == 0, process.log()
        assert "Traceback" not in process.log(), process.log()

    def subscribe(self, kind: type, topic: str, qos: QoSProfile | int = 100) -> Topic:
        heard = Topic(topic)
        self.node.create_subscription(kind, topic, heard.add, qos)
        return heard

    def publisher(self, kind: type, topic: str, qos: QoSProfile | int = 100) -> Any:
        """A publisher that has found a subscriber."""
        publisher = self.node.create_publisher(kind, topic, qos)
        self.until(publisher.get_subscription_count)
        return publisher

    def call(self, kind: type, service: str, request: Any) -> Any:
        # The same client each time: an answer to one that the service has not found yet is lost.
        if (kind, service) not in self._clients:
            self._clients[kind, service] = self.node.create_client(kind, service)
        client = self._clients[kind, service]
        assert client.wait_for_service(PATIENCE_S), f"no service {service}"
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        assert done.wait(PATIENCE_S), f"{service} did not answer"
        return future.result()

    def until(self, condition: Callable[[], T]) -> T:
        """Wait for what ROS's graph tells nobody about: looks again at every event of ours."""
        deadline = time.monotonic() + PATIENCE_S
        tick = threading.Event()
        timer = self.node.create_timer(0.02, tick.set)
        try:
            while not (result := condition()):
                tick.clear()
                left_s = max(0.0, deadline - time.monotonic())
                assert tick.wait(left_s), "it did not come to pass"
            return result
        finally:
            self.node.destroy_timer(timer)

    def tell_time(self, clock: Any, now_ns: int) -> None:
        """Publish a simulated time until the node has it: what comes before it listens is lost."""
        now = to_time(now_ns)
        timer = self.node.create_timer(0.05, lambda: clock.publish(Clock(clock=now)))
        self.diagnostics.wait(lambda m: m.header.stamp == now, after=len(self.diagnostics))
        self.node.destroy_timer(timer)

    def wait_for_status(
        self, fits: Callable[[dict[str, str]], Any], after: int = 0
    ) -> dict[str, str]:
        """The narrator's first diagnostic values that fit."""
        return values(self.diagnostics.wait(lambda message: fits(values(message)), after))


def values(message: DiagnosticArray) -> dict[str, str]:
    """Values by key, with the status's message as `message`."""
    (status,) = message.status
    return {"message": status.message, **{item.key: item.value for item in status.values}}
