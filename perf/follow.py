"""Path of a frame and of a question through the code: the files that each enters, in order.

python perf/follow.py

Runs a narrator with the demo model in this process and the synthetic camera in another, in a ROS
domain of their own, and prints the files of `streamingvlm_ros` in the order of their first use on
the path, with the first function called.

What counts: a call of a Python function, or a return from one, on the path.

- A frame's path leads from the image callback to the call that publishes the narration. It begins
  after the narrating thread has asked for the next frames, so that the previous round isn't
  counted. The union of three such paths is printed, after the third narration: first rounds also
  fill caches.
- A question's path leads from the callback of `~/ask` until that returns with the reply; the answer
  is published before. It is asked in mode 'stream', once to warm up and once to count. The camera
  has stopped by then, so that no frame's path is counted with it.
- A call belongs to a path if it is in that callback, or in the thread that narrates and answers.
  Timers (diagnostics, the expiry of chunks) and other services belong to no path.

What doesn't count: generated messages, imports, reading of plain attributes, and methods that
`dataclass` and `enum` write.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))

import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from streamingvlm_ros.msg import Narration
from streamingvlm_ros.srv import Ask

from streamingvlm_ros import inbox
from streamingvlm_ros.inbox import Inbox
from streamingvlm_ros.ros.narrator.node import Narrator

PACKAGE = Path(inbox.__file__).parent
"""Of a module, because the package itself may be found beside the generated messages."""
GENERATED = ("msg", "srv", "action")
CAMERA = "streamingvlm_ros.ros.demo.synthetic_camera"
REMAPPED = ["--ros-args", "-r", "__ns:=/follow"]
WARM_UP, COUNTED = 3, 3
"""Narrations before those that are counted, and those."""
LIMIT_S = 120.0


class Way:
    """Files on a path, each with the function that was called first."""

    def __init__(self) -> None:
        self.entered: dict[str, str] = {}

    def add(self, code: CodeType) -> None:
        """Note the file of a function."""
        function = getattr(code, "co_qualname", code.co_name)  # qualified from Python 3.11 on
        self.entered.setdefault(_path(code.co_filename), function)


class Follower:
    """Profiles every thread and adds calls to the path that they belong to.

    Paths are recorded one after another, from `start` until `stop`.
    """

    def __init__(self) -> None:
        self.finished = 0
        """Paths that have ended since `start`."""
        self._way: Way | None = None
        self._callback: CodeType | None = None
        self._ends_with_callback = False
        self._following = False
        self._worker: int | None = None
        """The thread that publishes narrations."""
        self._worker_is_ready = False

    def start(self, callback: Callable[..., Any], *, ends_with_callback: bool) -> None:
        """Record paths that begin in a callback, as it was given to rclpy."""
        function = getattr(callback, "func", callback)
        self._callback, self._ends_with_callback = function.__code__, ends_with_callback
        self._way, self.finished = Way(), 0

    def stop(self) -> Way:
        """Return the union of the paths since `start`."""
        assert self._way
        way, self._way = self._way, None
        return way

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        """Take one of `sys.setprofile`'s events."""
        if event not in ("call", "return"):
            return
        if event == "call" and _publishes_narration(frame):
            self._worker, self._worker_is_ready = threading.get_ident(), False
            if self._following and not self._ends_with_callback:
                self._end()
            return
        if frame.f_code is Inbox.take.__code__:
            self._worker_is_ready = True
        if self._way is None or not _path(frame.f_code.co_filename):
            return
        if event == "call" and frame.f_code is self._callback:
            self._following |= self._worker_is_ready
        if self._following and self._belongs(frame):
            self._way.add(frame.f_code)
        if event == "return" and frame.f_code is self._callback and self._ends_with_callback:
            self._end()

    def _end(self) -> None:
        self._following = False
        self.finished += 1

    def _belongs(self, frame: FrameType) -> bool:
        if threading.get_ident() == self._worker:
            return True
        caller: FrameType | None = frame
        while caller is not None:
            if caller.f_code is self._callback:
                return True
            caller = caller.f_back
        return False


def _publishes_narration(frame: FrameType) -> bool:
    return frame.f_code is Publisher.publish.__code__ and isinstance(
        frame.f_locals.get("msg"), Narration
    )


@cache
def _path(file: str) -> str:
    """Return a file's path in the package; empty for other files and generated messages."""
    path = Path(file)
    if not path.is_relative_to(PACKAGE):
        return ""
    path = path.relative_to(PACKAGE)
    return "" if path.parts[0] in GENERATED else str(path)


def follow_frames(follower: Follower, node: Narrator) -> Way:
    """Record the paths of frames while the camera runs."""
    (images,) = (s for s in node.subscriptions if s.msg_type.__name__.endswith("Image"))
    follower.start(images.callback, ends_with_callback=False)
    wait_until(lambda: follower.finished >= COUNTED, "no further narration")
    return follower.stop()


def follow_question(follower: Follower, node: Narrator, *, peer: Node) -> Way:
    """Record the path of the second of two questions."""
    client: Any = peer.create_client(Ask, "narrator/ask")
    (service,) = (s for s in node.services if s.srv_type is Ask)
    for _ in range(2):
        follower.start(service.callback, ends_with_callback=True)
        reply = client.call_async(Ask.Request(question="what is to the left?"))
        wait_until(lambda: follower.finished > 0 and reply.done(), "no reply to the question")  # noqa: B023
        way = follower.stop()
        assert reply.result().success, reply.result().message
    return way


def wait_until(condition: Callable[[], bool], problem: str) -> None:
    """Wait for other threads. Raise TimeoutError with `problem` after two minutes."""
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(problem)
        time.sleep(0.01)


@contextmanager
def camera() -> Iterator[None]:
    """Run a synthetic camera in a process of its own for the block."""
    process = subprocess.Popen([sys.executable, "-m", CAMERA, *REMAPPED])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def print_table(title: str, way: Way) -> None:
    """Print a row for each file, and their number."""
    print(f"\n{title}: {len(way.entered)} files")
    for number, (path, function) in enumerate(way.entered.items(), 1):
        print(f"{number:3}  {path:38} {function}")


def main() -> None:
    """Record both paths and print them."""
    follower = Follower()
    threading.setprofile(follower.profile)
    rclpy.init(args=REMAPPED)
    node, peer = Narrator(), rclpy.create_node("peer")
    narrations: list[Narration] = []
    peer.create_subscription(Narration, "narrator/narration", narrations.append, 10)
    executor = MultiThreadedExecutor(num_threads=8)
    executor.add_node(node)
    executor.add_node(peer)
    threading.Thread(target=executor.spin, daemon=True).start()
    with camera():
        wait_until(lambda: len(narrations) >= WARM_UP, "no narration")
        frames = follow_frames(follower, node)
    wait_until(lambda: is_idle(narrations), "the narration goes on without a camera")
    question = follow_question(follower, node, peer=peer)
    print_table("A frame", frames)
    print_table("A question", question)
    node.close()


def is_idle(narrations: list[Narration]) -> bool:
    """Return True after two seconds without a narration: the last chunk is closed by then."""
    count = len(narrations)
    time.sleep(2.0)
    return len(narrations) == count


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)  # rclpy's threads would keep a process that failed
