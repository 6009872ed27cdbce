"""The narrator's model: settings from parameters, the engine, and one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.node import Node

from ...config import DEMO_CHECKPOINT, SamplingConfig
from .. import params

if TYPE_CHECKING:
    from ...engine.stream import Stream


class NarratorModel:
    """A loaded checkpoint with the node's one stream, until `unload`."""

    def __init__(self, node: Node, model: str) -> None:
        """Declare the settings, with the checkpoint's own as defaults, and load it.

        Raises:
            ModelError: the checkpoint can't be loaded.
            ConfigError: a setting is out of range, or settings contradict each other.
        """
        # Importing torch takes seconds: other nodes shall see this one before that.
        from ...engine.engine import StreamingEngine
        from ...engine.model import checkpoint_settings, resolve

        self.checkpoint = resolve(model)
        if model == "auto" and self.checkpoint == DEMO_CHECKPOINT:
            node.get_logger().warning(
                "no GPU found: narrating with the small demo model, which knows only the synthetic "
                "camera's world. Set the parameter `model` to use another"
            )
        settings = params.declare_settings(node, checkpoint_settings(self.checkpoint))
        self.frames, self.asking = settings.frames, settings.asking
        self.engine = StreamingEngine.from_pretrained(self.checkpoint, settings)
        node.get_logger().info(f"attention: {self.engine.model.attention} on {self.engine.device}")
        self.stream: Stream = self.engine.open_stream()
        self.sampling: SamplingConfig = settings.sampling
        """The sampling settings now; they follow the parameters."""
        self._node = node
        self._on_set = params.on_sampling_change(node, settings.sampling, change=self._change)

    def unload(self) -> None:
        """Free the model's memory. The parameters keep their values."""
        from ...engine.memory import release_memory

        self._node.remove_on_set_parameters_callback(self._on_set)
        del self.stream, self.engine
        release_memory()

    def _change(self, sampling: SamplingConfig) -> None:
        self.sampling = sampling
