"""A node's executor survives entities that transitions create and destroy."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.action import ActionServer
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from streamingvlm_ros.action import Ask

from streamingvlm_ros.ros.messages import drop_on_timeout
from streamingvlm_ros.ros.process import spin

from .node_process import PATIENCE_S
from .ros_peer import own_domain


@pytest.fixture
def node() -> Iterator[Node]:
    domain, mark = own_domain()
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node("transient", context=context)
    with mark:
        yield node
        node.destroy_node()
        context.shutdown()


def test_a_publishing_timeout_does_not_end_the_executor(node: Node) -> None:
    executor = MultiThreadedExecutor(num_threads=2, context=node.context)
    executor.add_node(node)
    called, signals, ended = threading.Event(), list[int](), threading.Event()
    calls = []

    def publish() -> None:
        calls.append(1)
        if len(calls) > 3:
            called.set()
        raise RCLError("Failed publish goal status array: cannot publish data, at rmw_publish.cpp")

    node.create_timer(0.01, publish)
    spinner = threading.Thread(target=spin, args=(executor, signals), kwargs={"ended": ended})
    spinner.start()
    still_running = called.wait(PATIENCE_S)
    signals.append(2)
    executor.shutdown()
    spinner.join()
    assert still_running


def test_only_publishing_timeouts_are_dropped() -> None:
    with drop_on_timeout():
        raise RCLError("Failed to publish: cannot publish data, at rmw_publish.cpp:68")
    with pytest.raises(RCLError, match="invalid"), drop_on_timeout():
        raise RCLError("publisher is invalid")


def test_destroying_an_action_server_does_not_end_the_executor(
    node: Node,
) -> None:
    executor = MultiThreadedExecutor(num_threads=2, context=node.context)
    executor.add_node(node)
    signals: list[int] = []
    ended = threading.Event()
    spinner = threading.Thread(target=spin, args=(executor, signals), kwargs={"ended": ended})
    spinner.start()
    for _ in range(300):
        server = ActionServer(node, Ask, "~/ask", lambda goal: Ask.Result())
        executor.wake()
        server.destroy()
        if ended.is_set():
            break
    still_running = not ended.is_set()
    signals.append(2)
    executor.shutdown()
    spinner.join()
    assert still_running


def test_an_executor_that_misses_its_shutdown_ends_anyway(node: Node) -> None:
    executor = MultiThreadedExecutor(num_threads=2, context=node.context)
    executor.add_node(node)
    signals: list[int] = []
    ended = threading.Event()
    spinner = threading.Thread(
        target=spin, args=(executor, signals), kwargs={"ended": ended}, daemon=True
    )
    spinner.start()
    executor._guard.trigger = lambda: None
    signals.append(2)
    executor.shutdown()
    spinner.join(PATIENCE_S)
    assert not spinner.is_alive()
