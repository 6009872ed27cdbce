"""What a narrator has while it is configured: a model, publishers, services and a history."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import String
from std_srvs.srv import Trigger

from streamingvlm_ros.msg import Narration

from ...history.config import HistoryConfig
from .. import qos
from ..config import NodeConfig
from ..publishing import drop_on_timeout
from .active import INACTIVE, Active
from .ask_server import AskServer
from .history_server import HistoryServer
from .introspection import introspect
from .model import NarratorModel


class Configured:
    """From the moment it is created until `close`. Requests go to whatever is active."""

    def __init__(
        self,
        node: LifecycleNode,
        model: str,
        config: NodeConfig,
        history: HistoryConfig,
        active: Callable[[], Active | None],
    ) -> None:
        """Load the model and open the history. StreamingVLMError if one can't be had."""
        self._active = active
        with ExitStack() as undo:
            self.history_server = HistoryServer(node, config.history_folder, history)
            undo.callback(self.history_server.close)
            self.loaded = NarratorModel(node, model)
            undo.callback(self.loaded.unload)
            asking = AskServer(
                node, active, self.history_server, self.loaded.asking.history_moments
            )
            undo.callback(asking.close)
            self._narration = node.create_lifecycle_publisher(
                Narration, "~/narration", qos.PUBLISHED
            )
            undo.callback(node.destroy_lifecycle_publisher, self._narration)
            self._text = node.create_lifecycle_publisher(String, "~/text", qos.PUBLISHED)
            undo.callback(node.destroy_lifecycle_publisher, self._text)
            reset = node.create_service(
                Trigger,
                "~/reset",
                self._on_reset,
                qos_profile=qos.REQUESTS,
                # A group of its own: it waits for the model and keeps nothing else waiting.
                callback_group=MutuallyExclusiveCallbackGroup(),
            )
            undo.callback(node.destroy_service, reset)
            for entity in (self.history_server.service, asking.service, asking.action, reset):
                introspect(entity, node.get_clock(), config.introspection)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Give everything back, the model's memory too."""
        self._undo.close()

    def publish(self, narration: Narration) -> None:
        """Say it to all who listen."""
        with drop_on_timeout():
            self._narration.publish(narration)
        if not narration.silent:
            with drop_on_timeout():
                self._text.publish(String(data=narration.text))

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        active = self._active()
        if not active:
            return Trigger.Response(success=False, message=INACTIVE)
        active.reset()
        return Trigger.Response(success=True)
