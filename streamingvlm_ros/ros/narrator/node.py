"""The node `narrator`: images in, timestamped narration and answers out."""

from __future__ import annotations

import sys

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos_overriding_options import InvalidQosOverridesError

from ...errors import HistoryError
from ...history.config import HistoryConfig
from .. import params, qos
from ..config import NodeConfig
from ..diagnostics import Counters, Report
from ..process import run
from ..publishing import drop_on_timeout
from .active import Active
from .configured import Configured

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class Narrator(LifecycleNode):
    """Holds the model while configured; subscribes and narrates while active.

    Images and requests that wait for the model have callback groups of their own: nothing else
    is kept waiting. Settings are declared when the model is first loaded, because a checkpoint
    brings defaults of its own.
    """

    def __init__(self) -> None:
        super().__init__("narrator")
        self._model = params.declare_model(self)
        self._config = params.declare_all(self, NodeConfig)
        self._history = params.declare_all(self, HistoryConfig)
        self._counters = Counters()
        self._report = Report(self.get_fully_qualified_name(), self._counters)
        self._phase, self._problem = "unconfigured", ""
        self._configured: Configured | None = None
        self._active: Active | None = None
        self._image_group = MutuallyExclusiveCallbackGroup()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.PUBLISHED)
        # Steady: it also ticks while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._diagnose, self._image_group, clock=steady)
        if self._config.autostart:
            # A group of its own: loading must not keep `ros2 lifecycle get` waiting.
            group = MutuallyExclusiveCallbackGroup()
            self._starter = self.create_timer(0.0, self._start, group, clock=steady)

    @property
    def max_questions(self) -> int:
        """So many requests may wait for the model, each in a thread of its own."""
        return self._config.max_questions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model. If that can't be, it is said, and the node stays unconfigured."""
        self._phase, self._problem = "loading", ""
        try:
            self._configured = Configured(
                self, self._model, self._config, self._history, lambda: self._active
            )
        # Everything: rclpy's lifecycle would swallow what it doesn't know without a word.
        except Exception as error:
            said = isinstance(error, HistoryError | ParameterException)
            self._problem = str(error) if said else f"can't load the model: {error}"
            self._phase = "unconfigured"
            self.get_logger().error(self._problem)
            return FAILURE
        self._phase = "inactive"
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe the images and begin with an empty memory."""
        result = super().on_activate(state)
        assert self._configured
        loaded, history_server = self._configured.loaded, self._configured.history_server
        self._problem = ""
        try:
            self._active = Active(
                self,
                self._image_group,
                self._config,
                loaded,
                history_server,
                self._counters,
                self._configured.publish,
            )
        # rclpy says RuntimeError of an override that it does not know.
        except (InvalidQosOverridesError, ParameterException, RuntimeError) as error:
            self._problem = f"can't subscribe images: {error}"
            self.get_logger().error(self._problem)
            super().on_deactivate(state)
            return FAILURE
        self._phase = "active"
        self.get_logger().info(f"narrating {self._active.topic} with {loaded.checkpoint}")
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and stop when the round in flight is done. The model stays loaded."""
        self._deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the model's memory back."""
        self._unload()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and unload, from whatever state."""
        self._deactivate()
        self._unload()
        self._phase = "finalized"
        return super().on_shutdown(state)

    def release(self) -> None:
        """Let go of everybody who waits for an answer, with what there is so far."""
        if active := self._active:
            active.question_queue.end("the narrator is shutting down")

    def close(self) -> None:
        """Go to the end of the lifecycle, unless a transition did already."""
        if self._phase != "finalized":
            self.trigger_shutdown()

    def _start(self) -> None:
        self.destroy_timer(self._starter)
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def _deactivate(self) -> None:
        if self._active:
            active, self._active = self._active, None
            active.close()
            self._phase = "inactive"

    def _unload(self) -> None:
        if self._configured:
            self._configured.close()
            self._configured = None
            self._phase = "unconfigured"

    def _diagnose(self) -> None:
        configured, active = self._configured, self._active
        model = configured.loaded.checkpoint if configured else self._model
        diagnostics = {"state": self._phase, "model": str(model)}
        diagnostics |= configured.history_server.diagnostics() if configured else {}
        diagnostics |= active.diagnostics() if active else {}
        message = DiagnosticArray(status=[self._report.status(self._problem, diagnostics)])
        message.header.stamp = self.get_clock().now().to_msg()
        with drop_on_timeout():
            self._diagnostics.publish(message)


def main() -> int:
    """`ros2 run streamingvlm_ros narrator`."""
    return run(Narrator, Narrator.close, Narrator.release, lambda node: node.max_questions)


if __name__ == "__main__":
    sys.exit(main())
