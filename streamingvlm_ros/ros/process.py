"""Runs a node as a process, until a signal ends it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import rclpy
from rclpy.exceptions import InvalidHandle, ParameterException
from rclpy.executors import Executor, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ..errors import StreamingVLMError
from .messages import drop_on_timeout

N = TypeVar("N", bound=Node)

MAX_SPIN_S = 1.0
"""Longest wait of an executor. rclpy's shutdown destroys the guard condition that wakes it: an
executor that is just about to wait would miss that and wait forever."""

THREADS = 8
"""Enough for images, a reset that waits for the model, a transition and an action's goals."""

_DESTROYED = "pointer is invalid"
"""Text of rclpy's RCLError when a transition destroys an action server in another thread while the
executor collects entities to wait for. A subscription raises InvalidHandle then. Neither is a
reason to stop spinning."""


def run(
    create: Callable[[], N],
    close: Callable[[N], object],
    *,
    release: Callable[[N], object] = lambda node: None,
    extra_threads: Callable[[N], int] = lambda node: 0,
    failed: Callable[[N], bool] = lambda node: False,
) -> int:
    """Run a node until Ctrl-C or SIGTERM, and return the exit code. A second signal exits at once.

    If `create` raises one of our errors, print it as one line and return 1.

    Args:
        create: makes the node.
        close: closes the node while ROS still works.
        release: ends callbacks that wait, before the executor shuts down.
        extra_threads: number of callbacks that may wait at the same time.
        failed: asked after `close`; True makes the exit code 1.
    """
    # ROS's own handlers shut the context down at once, while threads still publish.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = create()
    except (StreamingVLMError, ParameterException) as error:
        print(f"error: {error}", file=sys.stderr)
        rclpy.shutdown()
        return 1
    threads = THREADS + extra_threads(node)
    has_failed = _spin_until_signal(node, partial(release, node), threads=threads)
    close(node)
    has_failed = has_failed or failed(node)
    node.destroy_node()
    rclpy.shutdown()
    return int(has_failed)


def _spin_until_signal(node: Node, release: Callable[[], object], *, threads: int) -> bool:
    """Return True if a callback's exception ended the spinning, False if a signal did."""
    executor = MultiThreadedExecutor(num_threads=threads)
    executor.add_node(node)
    ended = threading.Event()
    signals = _catch_signals(ended)
    thread = threading.Thread(
        target=spin, args=(executor, signals), kwargs={"ended": ended}, name="executor"
    )
    thread.start()
    ended.wait()
    release()
    executor.shutdown()
    thread.join()
    return not signals


def _catch_signals(ended: threading.Event) -> list[int]:
    """Return a list that collects signals from now on; the first sets `ended`, the second exits.

    Python's own handlers run in the main thread: they interrupt its code anywhere, and wait until
    it wakes up if another thread got the signal. The system's handler writes the number into a
    pipe at once, which a thread reads that may take locks.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    signals: list[int] = []

    def read() -> None:
        while True:
            signals.extend(n for n in os.read(reading, 1) if n in (signal.SIGINT, signal.SIGTERM))
            if len(signals) > 1:
                os._exit(130)  # a running call, such as a download, may never end
            if signals:
                ended.set()

    threading.Thread(target=read, name="signals", daemon=True).start()
    return signals


def spin(executor: Executor, signals: Sequence[int], *, ended: threading.Event) -> None:
    """Spin until `signals` has one or a callback raises, and set `ended`."""
    try:
        while not signals:
            try:
                # rclpy publishes by itself, too, such as a goal's status.
                with drop_on_timeout():
                    executor.spin_once(timeout_sec=MAX_SPIN_S)
            except InvalidHandle:
                pass
            except RuntimeError as error:
                if _DESTROYED not in str(error):
                    raise
    finally:
        ended.set()
