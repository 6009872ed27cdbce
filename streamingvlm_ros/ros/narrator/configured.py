"""The narrator's resources from configure to cleanup: model, history, publishers and services."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.service_introspection import ServiceIntrospectionState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from streamingvlm_ros.msg import Narration

from ...history.config import HistoryConfig
from .. import qos
from ..config import NodeConfig
from ..diagnostics import Counters
from .ask_server import AskServer
from .history_server import HistoryServer, open_history
from .model import NarratorModel
from .pipeline import INACTIVE, NarrationPipeline

_INTROSPECTION_STATES = {
    "disabled": ServiceIntrospectionState.OFF,
    "metadata": ServiceIntrospectionState.METADATA,
    "contents": ServiceIntrospectionState.CONTENTS,
}


class ConfiguredNarrator:
    """Holds the narrator's resources from creation to `close`.

    Services pass requests on to the pipeline that runs then; without one they reply that the
    narrator is not active.
    """

    def __init__(
        self,
        node: LifecycleNode,
        model: str,
        *,
        config: NodeConfig,
        history_config: HistoryConfig,
        pipeline: Callable[[], NarrationPipeline | None],
    ) -> None:
        """Load the model and open the history.

        Raises:
            StreamingVLMError: one of them can't be used. Nothing is held then.
        """
        self._node, self._config, self._pipeline = node, config, pipeline
        with ExitStack() as undo:
            self._history = open_history(config.history_folder, history_config)
            if self._history:
                undo.callback(self._history.close)
            history_server = HistoryServer(node, self._history)
            undo.callback(history_server.close)
            self.model = NarratorModel(node, model)
            undo.callback(self.model.unload)
            ask_server = AskServer(
                node,
                pipeline,
                history=self._history,
                max_moments=self.model.asking.history_moments,
            )
            undo.callback(ask_server.close)
            self._narration_publisher = node.create_lifecycle_publisher(
                Narration, "~/narration", qos.PUBLISHED
            )
            undo.callback(node.destroy_lifecycle_publisher, self._narration_publisher)
            self._text_publisher = node.create_lifecycle_publisher(String, "~/text", qos.PUBLISHED)
            undo.callback(node.destroy_lifecycle_publisher, self._text_publisher)
            reset_service = node.create_service(
                Trigger,
                "~/reset",
                self._on_reset,
                qos_profile=qos.REQUESTS,
                # A group of its own: a reset waits for the model, and nothing may wait for it.
                callback_group=MutuallyExclusiveCallbackGroup(),
            )
            undo.callback(node.destroy_service, reset_service)
            for server in (
                history_server.service,
                ask_server.service,
                ask_server.action,
                reset_service,
            ):
                self._configure_introspection(server)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Release all resources, including the model's memory."""
        self._undo.close()

    def start_pipeline(self, image_group: CallbackGroup, counters: Counters) -> NarrationPipeline:
        """Start narrating with these resources. Image callbacks run in `image_group`."""
        return NarrationPipeline(
            self._node,
            self._config,
            image_group=image_group,
            model=self.model,
            history=self._history,
            counters=counters,
            narration_publisher=self._narration_publisher,
            text_publisher=self._text_publisher,
        )

    def diagnostics(self) -> dict[str, str]:
        """Return values for /diagnostics, by key."""
        if not self._history:
            return {}
        return {"history: lost": str(self._history.lost), "history: failed": self._history.failure}

    def _configure_introspection(self, server: Any) -> None:
        if hasattr(server, "configure_introspection"):  # actions have it only since Kilted
            state = _INTROSPECTION_STATES[self._config.introspection]
            server.configure_introspection(self._node.get_clock(), qos.PUBLISHED, state)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        pipeline = self._pipeline()
        if not pipeline:
            return Trigger.Response(success=False, message=INACTIVE)
        if pipeline.problem:
            return Trigger.Response(success=False, message=pipeline.problem)
        pipeline.reset()
        return Trigger.Response(success=True)
