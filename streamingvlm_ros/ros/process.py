"""Running a node as a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

import rclpy
from rclpy.exceptions import InvalidHandle, ParameterException
from rclpy.executors import Executor, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ..errors import StreamingVLMError

N = TypeVar("N", bound=Node)

THREADS = 4
"""For images, for one request that waits for the model, for a transition, and one to spare."""


def run(create: Callable[[], N], close: Callable[[N], object]) -> int:
    """Run a node until Ctrl-C or SIGTERM, then `close` it while ROS still works. The exit code.

    A second signal ends the process at once.

    A node that can't be created for a reason of ours ends the process with that one line.
    """
    # ROS's own handlers end its context at once, under the hands of threads that publish.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = create()
    except (StreamingVLMError, ParameterException) as error:
        print(f"error: {error}", file=sys.stderr)
        rclpy.shutdown()
        return 1
    died = _spin_until_signal(node)
    close(node)
    node.destroy_node()
    rclpy.shutdown()
    return int(died)


def _spin_until_signal(node: Node) -> bool:
    """True if it ended because a callback raised."""
    executor = MultiThreadedExecutor(num_threads=THREADS)
    executor.add_node(node)
    # A handler interrupts anything, itself included: a list and this queue need no lock of it.
    ended: SimpleQueue[None] = SimpleQueue()
    signals: list[int] = []

    def end(number: int, _: object) -> None:
        signals.append(number)
        if len(signals) > 1:
            os._exit(130)  # asked twice: what is under way, such as a download, may take for ever
        ended.put(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    spinner = threading.Thread(target=_spin, args=(executor, signals, ended), name="executor")
    spinner.start()
    ended.get()
    executor.shutdown()
    spinner.join()
    return not signals


def _spin(executor: Executor, signals: list[int], ended: SimpleQueue[None]) -> None:
    try:
        while not signals:
            with suppress(InvalidHandle):
                # A subscription that a transition destroys in another thread, while the executor
                # collects what to wait for: gone, and no reason to end. rclpy doesn't guard it.
                executor.spin()
    finally:
        ended.put(None)
