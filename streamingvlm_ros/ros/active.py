"""What a narrator has only while it is active: images coming in, a worker, narration going out."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from streamingvlm_ros.msg import Narration

from .. import types
from ..frames.buffer import FrameBuffer
from ..frames.pictures import BadImageError, check, stamp_ns_of, to_frames
from ..frames.sampler import Verdict
from ..session import Reset
from ..types import Chunk, Frame
from . import qos
from .desk import Desk
from .diagnostics import JUMPS, ROUNDS, Tally
from .loaded import Loaded
from .messages import narration_message
from .params import NodeConfig
from .recall import Recall
from .view import View
from .worker import Inbox, Message, Worker

INACTIVE = "the narrator is not active: activate it with `ros2 lifecycle set`"
DEACTIVATED = "the narrator was deactivated"

EXPIRY_S = 0.1
"""How often to look whether the camera stopped within a chunk."""

LOG_EVERY_S = 1.0


class Active:
    """From the moment it is created until `close`: images of `node` to `publish` and `recall`.

    `desk` takes questions, `view` says what the stream sees. Questions and `reset` wait for the
    model; call them where waiting keeps no image waiting.
    """

    def __init__(
        self,
        node: Node,
        group: CallbackGroup,
        config: NodeConfig,
        loaded: Loaded,
        recall: Recall,
        tally: Tally,
        publish: Callable[[Narration], None],
    ) -> None:
        self._node, self._recall, self._tally, self._send = node, recall, tally, publish
        self._latency_s = 0.0
        self.topic = qos.image_topic(node, config.image_transport)
        """Where images are expected."""
        asking = loaded.asking
        self._inbox: Inbox = FrameBuffer(
            loaded.frames, self._on_jump, asking.questions_at_once, asking.recent_frames
        )
        self.desk = Desk(self._inbox, config.max_questions)
        self.view = View(loaded.vision_rounds)
        self._worker = Worker(
            loaded, self._inbox, self.view, tally, self._publish, self._reject, self._log_failure
        )
        self._images = qos.subscribe_images(node, config.image_transport, self._on_image, group)
        self._expiry = node.create_timer(EXPIRY_S, self._expire, group)
        # Last: nothing that can fail may leave a thread behind.
        self._worker.start()

    def facts(self) -> dict[str, str]:
        """For the diagnostics."""
        return {
            "topic": self.topic,
            "publishers": str(self._node.count_publishers(self.topic)),
            "backlog (chunks)": str(self._inbox.backlog),
            "latency (s)": f"{self._latency_s:.3f}",
            "questions waiting": str(len(self.desk)),
        }

    def recent(self) -> tuple[Frame, ...]:
        """The newest frames, decoded; none if nothing was seen since the stream began."""
        # Those that can't be decoded are the worker's to tell of.
        return to_frames(self._inbox.newest(), lambda error: None)

    def close(self) -> None:
        """Unsubscribe, end all questions, and end when the round in flight is done."""
        self._node.destroy_subscription(self._images)
        self._node.destroy_timer(self._expiry)
        self.desk.close(DEACTIVATED)
        self._worker.stop(DEACTIVATED)

    def reset(self) -> None:
        """Forget everything seen and said; narration goes on with the next whole chunk."""
        done = threading.Event()

        def begun() -> None:
            self.view.clear()
            done.set()

        if self._inbox.restart(Reset(begun)):
            done.wait()

    def _on_image(self, message: Message) -> None:
        self._tally.add("frames received")
        try:
            check(message)
        except BadImageError as error:
            return self._reject(error)
        stamp_ns = stamp_ns_of(message)
        verdict = self._inbox.put(stamp_ns, message, self._now_ns())
        if verdict is Verdict.SAMPLED:
            self._tally.add("frames sampled")
        elif verdict is Verdict.LATE:
            self._tally.add("frames late")

    def _expire(self) -> None:
        self._inbox.expire(self._now_ns())

    def _on_jump(self) -> Reset:
        self._tally.add(JUMPS)
        self._node.get_logger().warning(
            "the images' stamps jumped back: the stream begins anew",
            throttle_duration_sec=LOG_EVERY_S,
        )
        return Reset(self.view.clear)

    def _publish(self, narration: types.Narration, chunk: Chunk) -> None:
        self._tally.add(ROUNDS)
        message = narration_message(narration, self._now_ns())
        self._latency_s = message.latency
        self._send(message)
        self._recall.add_narration(narration, chunk.frames[-1])

    def _reject(self, error: BadImageError) -> None:
        self._tally.add("frames bad")
        self._tally.add(f"frames bad: {error.reason}")
        self._node.get_logger().error(f"{self.topic}: {error}", throttle_duration_sec=LOG_EVERY_S)

    def _log_failure(self, trace: str) -> None:
        self._node.get_logger().error(trace, throttle_duration_sec=LOG_EVERY_S)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
