"""What a narrator has only while it is active: images coming in, a worker, narration going out."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from streamingvlm_ros.msg import Narration

from ... import types
from ...frames.chunk_buffer import ChunkBuffer
from ...frames.chunker import SampleResult
from ...frames.image_decoding import BadImageError, Picture, check, stamp_ns_of, to_frame
from ...inbox import Inbox
from ...session import Reset
from ...types import Chunk, Frame
from .. import qos
from ..config import NodeConfig
from ..diagnostics import JUMPS, ROUNDS, Counters
from .history_server import HistoryServer
from .messages import narration_message
from .model import NarratorModel
from .question_queue import QuestionQueue
from .worker import CAMERA, Worker

INACTIVE = "the narrator is not active: activate it with `ros2 lifecycle set`"
DEACTIVATED = "the narrator was deactivated"

EXPIRY_S = 0.1
"""How often to look whether the camera stopped within a chunk."""

LOG_EVERY_S = 1.0


class Active:
    """From the moment it is created until `close`: images of `node` to `publish` and `recall`.

    `desk` takes questions. Questions and `reset` wait for the model; call them where waiting keeps
    no image waiting.
    """

    def __init__(
        self,
        node: Node,
        group: CallbackGroup,
        config: NodeConfig,
        loaded: NarratorModel,
        history_server: HistoryServer,
        counters: Counters,
        publish: Callable[[Narration], None],
    ) -> None:
        self._node, self._history_server, self._counters, self._send = (
            node,
            history_server,
            counters,
            publish,
        )
        self._latency_s = 0.0
        self.topic = qos.image_topic(node, config.image_transport)
        """Where images are expected."""
        buffer = ChunkBuffer(loaded.frames, recent_frames=loaded.asking.recent_frames)
        self._inbox = Inbox({CAMERA: buffer}, self._on_jump)
        self.question_queue = QuestionQueue(self._inbox, config.max_questions)
        self._worker = Worker(
            loaded,
            self._inbox,
            counters=counters,
            publish=self._publish,
            log_error=self._log_failure,
        )
        self._images = qos.subscribe_images(node, config.image_transport, self._on_image, group)
        self._expiry = node.create_timer(EXPIRY_S, self._expire, group)
        # Last: nothing that can fail may leave a thread behind.
        self._worker.start()

    def diagnostics(self) -> dict[str, str]:
        """For the diagnostics."""
        return {
            "topic": self.topic,
            "publishers": str(self._node.count_publishers(self.topic)),
            "backlog (chunks)": str(self._inbox.backlog(CAMERA)),
            "latency (s)": f"{self._latency_s:.3f}",
            "questions waiting": str(len(self.question_queue)),
        }

    def recent(self) -> tuple[Frame, ...]:
        """The newest frames; none if nothing was seen since the stream began."""
        return self._inbox.newest(CAMERA)

    def close(self) -> None:
        """Unsubscribe, end all questions, and end when the round in flight is done."""
        self._node.destroy_subscription(self._images)
        self._node.destroy_timer(self._expiry)
        self.question_queue.close(DEACTIVATED)
        self._worker.stop(DEACTIVATED)

    def reset(self) -> None:
        """Forget everything seen and said; narration goes on with the next whole chunk."""
        done = threading.Event()
        if self._inbox.restart(CAMERA, Reset(done.set)):
            done.wait()

    def _on_image(self, message: Picture) -> None:
        self._counters.add("frames received")
        try:
            check(message)
        except BadImageError as error:
            return self._reject(error)
        result = self._inbox.wants(CAMERA, stamp_ns_of(message))
        if result is SampleResult.SAMPLED:
            self._counters.add("frames sampled")
            self._take_in(message)
        elif result is SampleResult.LATE:
            self._counters.add("frames late")

    def _take_in(self, message: Picture) -> None:
        now_ns = self._now_ns()
        try:
            self._inbox.put(CAMERA, to_frame(message), now_ns=now_ns)
        except BadImageError as error:
            self._inbox.skip(CAMERA, stamp_ns_of(message), now_ns=now_ns)
            self._reject(error)

    def _expire(self) -> None:
        self._inbox.expire(self._now_ns())

    def _on_jump(self, camera: str) -> Reset:
        self._counters.add(JUMPS)
        self._node.get_logger().warning(
            "the images' stamps jumped back: the stream begins anew",
            throttle_duration_sec=LOG_EVERY_S,
        )
        return Reset()

    def _publish(self, camera: str, chunk: Chunk, narration: types.Narration) -> None:
        self._counters.add(ROUNDS)
        message = narration_message(narration, self._now_ns())
        self._latency_s = message.latency
        self._send(message)
        self._history_server.add_narration(narration, chunk.frames[-1])

    def _reject(self, error: BadImageError) -> None:
        self._counters.add("frames bad")
        self._counters.add(f"frames bad: {error.reason}")
        self._node.get_logger().error(f"{self.topic}: {error}", throttle_duration_sec=LOG_EVERY_S)

    def _log_failure(self, trace: str) -> None:
        self._node.get_logger().error(trace, throttle_duration_sec=LOG_EVERY_S)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
