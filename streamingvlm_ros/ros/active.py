"""What a narrator has only while it is active: images coming in, a worker, narration going out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from streamingvlm_ros.msg import Narration

from .. import types
from ..errors import StreamingVLMError
from ..frames.buffer import FrameBuffer
from ..frames.sampler import Verdict
from ..session import Question, Reset
from ..types import Answer
from . import qos
from .conversions import BadImageError, check, to_ns
from .diagnostics import JUMPS, ROUNDS, Tally
from .loaded import Loaded
from .messages import narration_message
from .worker import Inbox, Message, Worker

EXPIRY_S = 0.1
"""How often to look whether the camera stopped within a chunk."""

LOG_EVERY_S = 1.0


class Active:
    """From the moment it is created until `close`: images of `node` to `publish`.

    `ask` and `reset` wait for the model; call them where waiting keeps no image waiting.
    """

    def __init__(
        self,
        node: Node,
        group: CallbackGroup,
        transport: str,
        loaded: Loaded,
        tally: Tally,
        publish: Callable[[Narration], None],
    ) -> None:
        self._node, self._tally, self._send = node, tally, publish
        self._latency_s = 0.0
        self.topic = qos.image_topic(node, transport)
        """Where images are expected."""
        self._inbox: Inbox = FrameBuffer(loaded.frames, self._on_jump)
        self._worker = Worker(
            loaded, self._inbox, tally, self._publish, self._reject, self._log_failure
        )
        self._images = qos.subscribe_images(node, transport, self._on_image, group)
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
        }

    def close(self) -> None:
        """Unsubscribe, and end when the round in flight is done."""
        self._node.destroy_subscription(self._images)
        self._node.destroy_timer(self._expiry)
        self._worker.stop()

    def ask(self, text: str, max_tokens: int | None) -> Answer | StreamingVLMError:
        """What the model answers, or why it doesn't."""
        outcome: Future[Answer | StreamingVLMError] = Future()
        if not self._inbox.post(Question(text, outcome.set_result, max_tokens)):
            return StreamingVLMError("the narrator was deactivated")
        return outcome.result()

    def reset(self) -> None:
        """Forget everything seen and said; narration goes on with the next whole chunk."""
        done: Future[None] = Future()
        if self._inbox.restart(Reset(lambda: done.set_result(None))):
            done.result()

    def _on_image(self, message: Message) -> None:
        self._tally.add("frames received")
        try:
            check(message)
        except BadImageError as error:
            return self._reject(error)
        stamp_ns = to_ns(message.header.stamp)
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
        return Reset()

    def _publish(self, narration: types.Narration) -> None:
        self._tally.add(ROUNDS)
        message = narration_message(narration, self._now_ns())
        self._latency_s = message.latency
        self._send(message)

    def _reject(self, error: BadImageError) -> None:
        self._tally.add("frames bad")
        self._tally.add(f"frames bad: {error.reason}")
        self._node.get_logger().error(f"{self.topic}: {error}", throttle_duration_sec=LOG_EVERY_S)

    def _log_failure(self, trace: str) -> None:
        self._node.get_logger().error(trace, throttle_duration_sec=LOG_EVERY_S)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
