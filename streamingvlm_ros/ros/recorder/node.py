"""The node `recorder`: what the robot sees and says, into bags; and clips of moments to keep."""

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
from ..process import run
from ..publishing import drop_on_timeout
from .status import RecorderStatus
from .subscriptions import TopicSubscriptions

LONGEST_S = 3600.0
"""Most seconds of a clip after it was asked for."""

_LOOK_S = 0.25
"""How often it looks for new topics: what they say until then is not recorded."""


@dataclass(frozen=True)
class Given:
    """What a program that starts the node says instead of parameters."""

    config: RecorderConfig
    bag: BagConfig
    topics: Sequence[str] = ()


class RecorderNode(Node):
    """Records from its start to its end, or until there is no more room; it lives on without."""

    def __init__(self, given: Given | None = None) -> None:
        """ConfigError or BagError if nothing can be recorded so."""
        super().__init__("recorder")
        given = given or self._declared()
        # First what makes no files, in case it can't be.
        self._topics = TopicSubscriptions(self, given.topics, self._hear)
        self._recorder = Recorder(given.config, given.bag)
        self._status = RecorderStatus(self.get_fully_qualified_name(), self._recorder)
        self._stopped = False
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.PUBLISHED)
        # Steady: they also tick while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        # Each of its own: making a clip's folder waits for the disk.
        looking, telling, saving = (MutuallyExclusiveCallbackGroup() for _ in range(3))
        self.create_timer(_LOOK_S, self._look, looking, clock=steady)
        self.create_timer(1.0, self._tell, telling, clock=steady)
        self.create_service(SaveClip, "~/save_clip", self._save_clip, callback_group=saving)
        self.get_logger().info(f"recording to {self._recorder.recording.folder}")
        self._look()

    def close(self) -> None:
        """Finish the bag and the clips."""
        whole = self._recorder.close()
        self._tell()
        if not whole:
            self.get_logger().error("the disk hangs: the newest messages may not be in the bag")
        recording = self._recorder.recording
        if not self.is_gone:
            written = recording.written.total()
            self.get_logger().info(f"{written} messages are in {recording.folder}")

    @property
    def is_gone(self) -> bool:
        """Whether somebody took away what was recorded."""
        return self._recorder.recording.bag_removed

    def _hear(self, recorded: BagMessage) -> None:
        self._recorder.record(recorded)

    def _declared(self) -> Given:
        about = "The topics that are recorded; none: those of images, camera_info, narration, "
        descriptor = ParameterDescriptor(
            description=f"{about}answers and their text, /diagnostics, /tf and /tf_static.",
            read_only=True,
        )
        # An empty list has no type in ROS; one with nothing in it must do.
        names: list[str] = self.declare_parameter("topics", [""], descriptor).value or []
        return Given(
            params.declare_all(self, RecorderConfig),
            params.declare_all(self, BagConfig),
            [name for name in names if name],
        )

    def _save_clip(self, request: Any, response: Any) -> Any:
        now_ns = self._now_ns()
        if not (request.before >= 0 and 0 <= request.after <= LONGEST_S):
            response.message = f"before and after must be 0 to {LONGEST_S:g} seconds"
            return response
        moment = ClipRequest(
            request.label,
            now_ns,
            now_ns - round(min(request.before, LONGEST_S) * NS_PER_S),
            now_ns + round(request.after * NS_PER_S),
            request.text,
        )
        held_s = self._recorder.buffered_s(now_ns)
        try:
            clip = self._recorder.save_clip(moment)
        except BagError as error:
            response.message = str(error)
            return response
        if held_s < request.before - 1.0:
            response.message = (
                f"only {held_s:.1f} s before now are held: nothing came earlier, or ring_s or "
                "ring_mb is too small"
            )
        response.success, response.path = True, str(clip.folder)
        return response

    def _look(self) -> None:
        # Simulated time begins with the first message on /clock. Before, nothing has a stamp.
        if self._now_ns():
            self._topics.look()

    def _tell(self) -> None:
        for clip in self._recorder.finished_clips(self._now_ns()):
            self._status.add(clip)
            if clip.problem:
                self.get_logger().error(f"the clip {clip.folder} is not whole: {clip.problem}")
            else:
                self.get_logger().info(f"the clip {clip.folder} is finished")
        problem = self._recorder.recording.problem
        if problem and not self._stopped:
            self._stopped = True
            self.get_logger().error(f"recording has stopped: {problem}")
        message = DiagnosticArray(status=[self._status.status(self._topics)])
        for name, number in self._status.newly_dropped.items():
            self.get_logger().warning(f"too slow: {number} messages of {name} are not recorded")
        message.header.stamp = self.get_clock().now().to_msg()
        with drop_on_timeout():
            self._diagnostics.publish(message)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main(given: Given | None = None) -> int:
    """`ros2 run streamingvlm_ros recorder --ros-args -p folder:=FOLDER`."""
    gone: list[bool] = []

    def close(recorder: RecorderNode) -> None:
        recorder.close()
        gone.append(recorder.is_gone)

    return run(partial(RecorderNode, given), close) or int(any(gone))


if __name__ == "__main__":
    sys.exit(main())
