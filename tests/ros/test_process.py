"""A node's executor outlives what transitions create and destroy."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.action import ActionServer
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from streamingvlm_ros.action import Ask

from streamingvlm_ros.ros.process import _spin

from .peer import own_domain


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


def test_an_action_server_that_is_destroyed_meanwhile_does_not_end_the_executor(
    node: Node,
) -> None:
    executor = MultiThreadedExecutor(num_threads=2, context=node.context)
    executor.add_node(node)
    signals: list[int] = []
    ended = threading.Event()
    spinner = threading.Thread(target=_spin, args=(executor, signals, ended))
    spinner.start()
    for _ in range(300):
        server = ActionServer(node, Ask, "~/ask", lambda goal: Ask.Result())
        executor.wake()
        server.destroy()
        if ended.is_set():
            break
    went_on = not ended.is_set()
    signals.append(2)
    executor.shutdown()
    spinner.join()
    assert went_on
