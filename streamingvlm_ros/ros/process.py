"""Running a node as a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import rclpy
from rclpy.exceptions import InvalidHandle, ParameterException
from rclpy.executors import Executor, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ..errors import StreamingVLMError
from .publishing import drop_on_timeout

N = TypeVar("N", bound=Node)

LONGEST_WAIT_S = 1.0
"""rclpy's shutdown destroys the very condition by which it wakes the executor: one that is just
about to wait misses it, and would wait for ever."""

THREADS = 8
"""For images, a reset that waits for the model, a transition, an action's goals, and to spare."""

_DESTROYED = "pointer is invalid"
"""What a transition destroys in another thread, while the executor collects what to wait for, is
gone and no reason to end. rclpy guards neither a subscription (InvalidHandle) nor an action server,
which it finds destroyed and waits for all the same (RCLError with these words)."""


def run(
    create: Callable[[], N],
    close: Callable[[N], object],
    release: Callable[[N], object] = lambda node: None,
    waiting: Callable[[N], int] = lambda node: 0,
) -> int:
    """Run a node until Ctrl-C or SIGTERM, then `close` it while ROS still works. The exit code.

    A second signal ends the process at once. `waiting` is how many further callbacks may wait in
    threads of their own, which `release` lets go of before the executor ends.

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
    died = _spin_until_signal(node, partial(release, node), THREADS + waiting(node))
    close(node)
    node.destroy_node()
    rclpy.shutdown()
    return int(died)


def _spin_until_signal(node: Node, release: Callable[[], object], threads: int) -> bool:
    """True if it ended because a callback raised."""
    executor = MultiThreadedExecutor(num_threads=threads)
    executor.add_node(node)
    ended = threading.Event()
    signals = _listen(ended)
    spinner = threading.Thread(target=_spin, args=(executor, signals, ended), name="executor")
    spinner.start()
    ended.wait()
    release()
    executor.shutdown()
    spinner.join()
    return not signals


def _listen(ended: threading.Event) -> list[int]:
    """From now on signals set `ended`, and are put into the list; the second ends the process.

    Python's own handlers run in the main thread, interrupt whatever it does, and wait until it
    wakes up if the signal was given to another thread. What the system's handler writes into a
    pipe is there at once, for a thread that may take locks.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    signals: list[int] = []

    def listen() -> None:
        while True:
            signals.extend(n for n in os.read(reading, 1) if n in (signal.SIGINT, signal.SIGTERM))
            if len(signals) > 1:
                os._exit(130)  # what is under way, such as a download, may take for ever
            if signals:
                ended.set()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    return signals


def _spin(executor: Executor, signals: list[int], ended: threading.Event) -> None:
    try:
        while not signals:
            try:
                # What rclpy publishes itself, such as a goal's status.
                with drop_on_timeout():
                    executor.spin_once(timeout_sec=LONGEST_WAIT_S)
            except InvalidHandle:
                pass
            except RuntimeError as error:
                if _DESTROYED not in str(error):
                    raise
    finally:
        ended.set()
