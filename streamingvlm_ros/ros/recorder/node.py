"""The node `recorder`: records topics into bags, and saves clips of moments on request."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from streamingvlm_ros.srv import SaveClip

from ...bags.config import BagConfig, RecorderConfig
from ...bags.recorder import Recorder
from ...bags.types import BagMessage, ClipRequest
from ...errors import BagError
from ...types import NS_PER_S
from .. import params, qos
from ..messages import drop_on_timeout
from ..process import run
from .status import RecorderStatus
from .subscriptions import TopicSubscriptions

MAX_CLIP_S = 3600.0
"""Maximum seconds of a clip before the request, and after it."""

_REFRESH_S = 0.25
"""Interval of the search for new topics. Messages before the first search are not recorded."""


@dataclass(frozen=True)
class RecorderSettings:
    """What to record and how: from parameters, or from a program that starts the node."""

    config: RecorderConfig
    bag: BagConfig
    topics: Sequence[str] = ()


class RecorderNode(Node):
    """Records from start to end. When it has to stop recording, the node keeps running."""

    def __init__(self, settings: RecorderSettings | None = None) -> None:
        """Start recording; without `settings` they are the node's parameters.

        Raises:
            ConfigError: a setting, or a combination of settings, can't be used.
            BagError: the folder can't be used.
        """
        super().__init__("recorder")
        settings = settings or self._declare_settings()
        # Check the topics first: the recorder makes files.
        self._topic_subscriptions = TopicSubscriptions(
            self, settings.topics, on_message=self._on_message
        )
        self._recorder = Recorder(settings.config, settings.bag)
        self._status = RecorderStatus(self.get_fully_qualified_name(), self._recorder)
        self._stopped = False
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.PUBLISHED)
        # Steady: it also ticks while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        # Separate groups: creating a clip's folder waits for the disk.
        refresh_group, report_group, clip_group = (
            MutuallyExclusiveCallbackGroup() for _ in range(3)
        )
        self.create_timer(_REFRESH_S, self._refresh_topics, refresh_group, clock=steady)
        self.create_timer(1.0, self._report, report_group, clock=steady)
        self.create_service(SaveClip, "~/save_clip", self._save_clip, callback_group=clip_group)
        self.get_logger().info(f"recording to {self._recorder.recording.folder}")
        self._refresh_topics()

    def close(self) -> None:
        """Finish the bag and the clips."""
        complete = self._recorder.close()
        self._report()
        if not complete:
            self.get_logger().error("the disk hangs: the newest messages may not be in the bag")
        recording = self._recorder.recording
        if not self.bag_is_gone:
            written = recording.written.total()
            self.get_logger().info(f"{written} messages are in {recording.folder}")

    @property
    def bag_is_gone(self) -> bool:
        """True if the bag's folder was removed while it was recorded."""
        return self._recorder.recording.bag_removed

    def _on_message(self, message: BagMessage) -> None:
        self._recorder.record(message)

    def _declare_settings(self) -> RecorderSettings:
        descriptor = ParameterDescriptor(
            description="Topics to record. Empty: those of images, camera_info, narration, answers "
            "and their text, /diagnostics, /tf and /tf_static.",
            read_only=True,
        )
        # ROS can't infer the type of an empty list: one empty name stands for none.
        names: list[str] = self.declare_parameter("topics", [""], descriptor).value or []
        return RecorderSettings(
            params.declare_all(self, RecorderConfig),
            params.declare_all(self, BagConfig),
            [name for name in names if name],
        )

    def _save_clip(self, request: Any, response: Any) -> Any:
        now_ns = self._now_ns()
        if not (request.before >= 0 and 0 <= request.after <= MAX_CLIP_S):
            response.message = (
                f"before and after must be 0 to {MAX_CLIP_S:g} seconds, not "
                f"{request.before:g} and {request.after:g}"
            )
            return response
        moment = ClipRequest(
            request.label,
            now_ns,
            now_ns - round(min(request.before, MAX_CLIP_S) * NS_PER_S),
            now_ns + round(request.after * NS_PER_S),
            request.text,
        )
        buffered_s = self._recorder.buffered_s(now_ns)
        try:
            clip = self._recorder.save_clip(moment)
        except BagError as error:
            response.message = str(error)
            return response
        if buffered_s < request.before - 1.0:
            response.message = (
                f"the clip starts only {buffered_s:.1f} s before the request: nothing came "
                "earlier, or ring_s or ring_mb is too small"
            )
        response.success, response.path = True, str(clip.folder)
        return response

    def _refresh_topics(self) -> None:
        # Simulated time is 0 until the first message on /clock: nothing can be stamped before.
        if self._now_ns():
            self._topic_subscriptions.refresh()

    def _report(self) -> None:
        """Log finished clips and problems, and publish the status."""
        for clip in self._recorder.finished_clips(self._now_ns()):
            self._status.add_clip(clip)
            if clip.problem:
                self.get_logger().error(f"the clip {clip.folder} is incomplete: {clip.problem}")
            else:
                self.get_logger().info(f"the clip {clip.folder} is finished")
        problem = self._recorder.recording.problem
        if problem and not self._stopped:
            self._stopped = True
            self.get_logger().error(f"recording has stopped: {problem}")
        message = DiagnosticArray(status=[self._status.status(self._topic_subscriptions)])
        for name, number in self._status.newly_dropped.items():
            self.get_logger().warning(f"too slow: {number} messages of {name} were not recorded")
        message.header.stamp = self.get_clock().now().to_msg()
        with drop_on_timeout():
            self._diagnostics.publish(message)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main(settings: RecorderSettings | None = None) -> int:
    """Run `ros2 run streamingvlm_ros recorder --ros-args -p folder:=FOLDER`."""
    return run(
        partial(RecorderNode, settings),
        RecorderNode.close,
        failed=lambda recorder: recorder.bag_is_gone,
    )


if __name__ == "__main__":
    sys.exit(main())
