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
from ..diagnostics import Counters
from ..messages import drop_on_timeout
from ..process import run
from .configured import ConfiguredNarrator
from .pipeline import NarrationPipeline
from .status import NarratorStatus

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class Narrator(LifecycleNode):
    """A lifecycle node: configuring loads the model, activating starts the pipeline.

    Images, and requests that wait for the model, have callback groups of their own, so that they
    delay nothing else. Settings are declared when the model is first loaded, because a checkpoint
    brings defaults of its own.
    """

    def __init__(self) -> None:
        super().__init__("narrator")
        self._model = params.declare_model(self)
        self._config = params.declare_all(self, NodeConfig)
        self._history = params.declare_all(self, HistoryConfig)
        self._counters = Counters()
        self._status = NarratorStatus(self.get_fully_qualified_name(), self._counters)
        self._phase, self._problem = "unconfigured", ""
        self._configured: ConfiguredNarrator | None = None
        self._pipeline: NarrationPipeline | None = None
        self._image_group = MutuallyExclusiveCallbackGroup()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.PUBLISHED)
        # Steady: it also ticks while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._publish_diagnostics, self._image_group, clock=steady)
        if self._config.autostart:
            # A group of its own: loading must not delay `ros2 lifecycle get`.
            group = MutuallyExclusiveCallbackGroup()
            self._autostart_timer = self.create_timer(0.0, self._autostart, group, clock=steady)

    @property
    def max_questions(self) -> int:
        """Questions that may wait for the model, each in a thread of its own."""
        return self._config.max_questions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model. If that fails, log why and stay unconfigured."""
        self._phase, self._problem = "loading", ""
        try:
            self._configured = ConfiguredNarrator(
                self,
                self._model,
                config=self._config,
                history_config=self._history,
                pipeline=lambda: self._pipeline,
            )
        # Any exception: rclpy's lifecycle drops those that it doesn't know without a message.
        except Exception as error:
            clear = isinstance(error, HistoryError | ParameterException)
            self._problem = str(error) if clear else f"can't load the model: {error}"
            self._phase = "unconfigured"
            self.get_logger().error(self._problem)
            return FAILURE
        self._phase = "inactive"
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the images and start with an empty stream."""
        result = super().on_activate(state)
        assert self._configured
        self._problem = ""
        try:
            self._pipeline = self._configured.start_pipeline(self._image_group, self._counters)
        # rclpy raises a plain RuntimeError for an override that it doesn't know.
        except (InvalidQosOverridesError, ParameterException, RuntimeError) as error:
            self._problem = f"can't subscribe to images: {error}"
            self.get_logger().error(self._problem)
            super().on_deactivate(state)
            return FAILURE
        self._phase = "active"
        checkpoint = self._configured.model.checkpoint
        self.get_logger().info(f"narrating {self._pipeline.topic} with {checkpoint}")
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and stop when the round in progress is done. The model stays loaded."""
        self._deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model's memory."""
        self._unload()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and unload, from any state."""
        self._deactivate()
        self._unload()
        self._phase = "finalized"
        return super().on_shutdown(state)

    def release(self) -> None:
        """End all questions with the text so far, so that nobody waits for an answer."""
        if pipeline := self._pipeline:
            pipeline.question_queue.cancel_all("the narrator is shutting down")

    def close(self) -> None:
        """Shut down, unless a transition did already."""
        if self._phase != "finalized":
            self.trigger_shutdown()

    def _autostart(self) -> None:
        self.destroy_timer(self._autostart_timer)
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def _deactivate(self) -> None:
        if self._pipeline:
            pipeline, self._pipeline = self._pipeline, None
            pipeline.close()
            self._phase = "inactive"

    def _unload(self) -> None:
        if self._configured:
            self._configured.close()
            self._configured = None
            self._phase = "unconfigured"

    def _publish_diagnostics(self) -> None:
        configured, pipeline = self._configured, self._pipeline
        model = configured.model.checkpoint if configured else self._model
        values = {"state": self._phase, "model": str(model)}
        values |= configured.diagnostics() if configured else {}
        values |= pipeline.diagnostics() if pipeline else {}
        problem = self._problem or (pipeline.problem if pipeline else "")
        message = DiagnosticArray(status=[self._status.status(problem, values)])
        message.header.stamp = self.get_clock().now().to_msg()
        with drop_on_timeout():
            self._diagnostics.publish(message)


def main() -> int:
    """Run `ros2 run streamingvlm_ros narrator`."""
    return run(
        Narrator,
        Narrator.close,
        release=Narrator.release,
        extra_threads=lambda node: node.max_questions,
    )


if __name__ == "__main__":
    sys.exit(main())
