"""From camera images to published narrations: what runs while the narrator is active."""

from __future__ import annotations

import threading

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import String

from streamingvlm_ros.msg import Narration

from ... import types
from ...frames.chunk_buffer import ChunkBuffer
from ...frames.chunker import SampleResult
from ...frames.image_decoding import BadImageError, Picture, check, stamp_ns_of, to_frame
from ...history.store import History
from ...history.types import Entry
from ...inbox import Inbox
from ...session import CameraSink, Reset
from ...types import NS_PER_S, Chunk, Frame
from .. import qos
from ..config import NodeConfig
from ..diagnostics import Counters
from ..messages import drop_on_timeout, narration_message
from .model import NarratorModel
from .question_queue import QuestionQueue
from .status import JUMPS, ROUNDS
from .worker import CAMERA, Worker

INACTIVE = "the narrator is not active: activate it with `ros2 lifecycle set`"
DEACTIVATED = "the narrator was deactivated"

_EXPIRY_S = 0.1
"""Interval of the check for a camera that stopped within a chunk."""

_LOG_INTERVAL_S = 1.0


class NarrationPipeline:
    """Subscribes to the camera, runs the worker and publishes narrations, from creation to `close`.

    `question_queue` takes questions. Questions and `reset` wait for the model: call them from a
    callback group that images don't use.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        *,
        image_group: CallbackGroup,
        model: NarratorModel,
        history: History | None,
        counters: Counters,
        narration_publisher: Publisher[Narration],
        text_publisher: Publisher[String],
    ) -> None:
        self._node, self._counters = node, counters
        self._narration_publisher, self._text_publisher = narration_publisher, text_publisher
        self._latency_s = 0.0
        self.topic = qos.image_topic(node, config.image_transport)
        """Full name of the image topic."""
        buffer = ChunkBuffer(model.frames, recent_frames=model.asking.recent_frames)
        self._inbox = Inbox({CAMERA: buffer}, self._on_jump)
        self.question_queue = QuestionQueue(self._inbox, config.max_questions)
        sinks: list[CameraSink] = [self._publish]
        if history:
            sinks.append(_history_sink(history))
        self._worker = Worker(
            model, self._inbox, counters=counters, sinks=sinks, log_error=self._log_error
        )
        self._subscription = qos.subscribe_images(
            node, config.image_transport, callback=self._on_image, group=image_group
        )
        self._expiry_timer = node.create_timer(_EXPIRY_S, self._expire, image_group)
        # Last: if anything above fails, no thread is left behind.
        self._worker.start()

    @property
    def problem(self) -> str:
        """What ended the narration; empty while it runs."""
        return self._worker.problem

    def diagnostics(self) -> dict[str, str]:
        """Return values for /diagnostics, by key."""
        return {
            "topic": self.topic,
            "publishers": str(self._node.count_publishers(self.topic)),
            "backlog (chunks)": str(self._inbox.backlog(CAMERA)),
            "latency (s)": f"{self._latency_s:.3f}",
            "questions waiting": str(len(self.question_queue)),
        }

    def recent_frames(self) -> tuple[Frame, ...]:
        """Return the newest frames since the stream began, oldest first; may be empty."""
        return self._inbox.newest(CAMERA)

    def close(self) -> None:
        """Unsubscribe, end all questions, and wait until the round in progress is done."""
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_timer(self._expiry_timer)
        self.question_queue.close(DEACTIVATED)
        self._worker.stop(DEACTIVATED)

    def reset(self) -> None:
        """Make the stream forget everything. Narration continues with the next whole chunk."""
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
            self._add_frame(message)
        elif result is SampleResult.LATE:
            self._counters.add("frames late")

    def _add_frame(self, message: Picture) -> None:
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
            "image stamps jumped back: the stream is reset",
            throttle_duration_sec=_LOG_INTERVAL_S,
        )
        return Reset()

    def _publish(self, camera: str, chunk: Chunk, narration: types.Narration) -> None:
        self._counters.add(ROUNDS)
        self._latency_s = (self._now_ns() - narration.newest_ns) / NS_PER_S
        with drop_on_timeout():
            self._narration_publisher.publish(
                narration_message(narration, latency_s=self._latency_s)
            )
        if narration.text:
            with drop_on_timeout():
                self._text_publisher.publish(String(data=narration.text))

    def _reject(self, error: BadImageError) -> None:
        self._counters.add("frames bad")
        self._counters.add(f"frames bad: {error.reason}")
        self._node.get_logger().error(
            f"{self.topic}: {error}", throttle_duration_sec=_LOG_INTERVAL_S
        )

    def _log_error(self, text: str) -> None:
        self._node.get_logger().error(text, throttle_duration_sec=_LOG_INTERVAL_S)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _history_sink(history: History) -> CameraSink:
    def add(camera: str, chunk: Chunk, narration: types.Narration) -> None:
        entry = Entry(narration.text, narration.start_ns, narration.end_ns)
        history.add(entry, chunk.frames[-1])

    return add
