"""The node `narrator`: images in, timestamped narration and answers out."""

from __future__ import annotations

import sys

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos_overriding_options import InvalidQosOverridesError
from std_msgs.msg import String
from std_srvs.srv import Trigger

from streamingvlm_ros.msg import Narration
from streamingvlm_ros.srv import Ask

from . import params, qos
from .active import Active
from .diagnostics import Report, Tally
from .loaded import Loaded
from .messages import answer_response
from .process import run

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
INACTIVE = "the narrator is not active: activate it with `ros2 lifecycle set`"


class Narrator(LifecycleNode):
    """Holds the model while configured; subscribes and narrates while active.

    Images, requests and all else have a callback group each: a request that waits for the model
    keeps nothing else waiting. Settings are declared when the model is first loaded, because a
    checkpoint brings defaults of its own.
    """

    def __init__(self) -> None:
        super().__init__("narrator")
        self._model = params.declare_model(self)
        self._config = params.declare_node(self)
        self._tally = Tally()
        self._report = Report(self.get_fully_qualified_name(), self._tally)
        self._phase, self._problem = "unconfigured", ""
        self._loaded: Loaded | None = None
        self._active: Active | None = None
        self._image_group = MutuallyExclusiveCallbackGroup()
        self._request_group = MutuallyExclusiveCallbackGroup()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.PUBLISHED)
        # Steady: it also ticks while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._diagnose, self._image_group, clock=steady)
        if self._config.autostart:
            # A group of its own: loading must not keep `ros2 lifecycle get` waiting.
            group = MutuallyExclusiveCallbackGroup()
            self._starter = self.create_timer(0.0, self._start, group, clock=steady)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model. If it can't be loaded that is said, and the node stays unconfigured."""
        self._phase, self._problem = "loading", ""
        try:
            self._loaded = Loaded(self, self._model)
        # Everything: rclpy's lifecycle would swallow what it doesn't know without a word.
        except Exception as error:
            self._phase, self._problem = "unconfigured", f"can't load the model: {error}"
            self.get_logger().error(self._problem)
            return FAILURE
        self._narration = self.create_lifecycle_publisher(Narration, "~/narration", qos.PUBLISHED)
        self._text = self.create_lifecycle_publisher(String, "~/text", qos.PUBLISHED)
        group = self._request_group
        self._ask = self.create_service(
            Ask, "~/ask", self._on_ask, qos_profile=qos.REQUESTS, callback_group=group
        )
        self._reset = self.create_service(
            Trigger, "~/reset", self._on_reset, qos_profile=qos.REQUESTS, callback_group=group
        )
        self._phase = "inactive"
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe the images and begin with an empty memory."""
        result = super().on_activate(state)
        assert self._loaded
        self._problem = ""
        try:
            self._active = Active(
                self,
                self._image_group,
                self._config.image_transport,
                self._loaded,
                self._tally,
                self._publish,
            )
        # rclpy says RuntimeError of an override that it does not know.
        except (InvalidQosOverridesError, ParameterException, RuntimeError) as error:
            self._problem = f"can't subscribe images: {error}"
            self.get_logger().error(self._problem)
            super().on_deactivate(state)
            return FAILURE
        self._phase = "active"
        self.get_logger().info(f"narrating {self._active.topic} with {self._loaded.checkpoint}")
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
        if self._loaded:
            self._loaded.unload()
            self._loaded = None
            self.destroy_service(self._ask)
            self.destroy_service(self._reset)
            self.destroy_lifecycle_publisher(self._narration)
            self.destroy_lifecycle_publisher(self._text)
            self._phase = "unconfigured"

    def _publish(self, narration: Narration) -> None:
        self._narration.publish(narration)
        if not narration.silent:
            self._text.publish(String(data=narration.text))

    def _on_ask(self, request: Ask.Request, _: Ask.Response) -> Ask.Response:
        active = self._active  # a transition in another thread may take it away meanwhile
        if not active:
            return Ask.Response(success=False, message=INACTIVE)
        return answer_response(active.ask(request.question, request.max_tokens or None))

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        active = self._active
        if not active:
            return Trigger.Response(success=False, message=INACTIVE)
        active.reset()
        return Trigger.Response(success=True)

    def _diagnose(self) -> None:
        loaded, active = self._loaded, self._active
        model = loaded.checkpoint if loaded else self._model
        facts = {"state": self._phase, "model": str(model)}
        facts |= active.facts() if active else {}
        message = DiagnosticArray(status=[self._report.status(self._problem, facts)])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def main() -> int:
    """`ros2 run streamingvlm_ros narrator`."""
    return run(Narrator, Narrator.close)


if __name__ == "__main__":
    sys.exit(main())
