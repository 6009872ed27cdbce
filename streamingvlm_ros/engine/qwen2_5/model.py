"""Interface to the model family: the parts of a loaded Qwen2.5-VL that the engine uses."""

from __future__ import annotations

from functools import partial

from ...config import ModelConfig
from ..attention import activate, choose_backend
from ..chat_format import ChatFormat
from ..model import LoadedModel
from .decoder import Decoder
from .positions import positions
from .vision import VisionSpec
from .vision_encoder import VisionEncoder


class Model:
    """Chat format, vision encoder, positions and decoder of one checkpoint. Stateless."""

    def __init__(self, loaded: LoadedModel, config: ModelConfig) -> None:
        """Take over a loaded checkpoint.

        Raises:
            ConfigError: the attention that `config` names doesn't work here.
        """
        self.complete = loaded.complete
        self.chat_format = ChatFormat(loaded.tokenizer)
        self.stop_ids = loaded.stop_ids | {self.chat_format.end_id}
        self.decoder = Decoder(loaded.model)
        self.attention = choose_backend(
            config.attention, self.decoder.device, dtype=self.decoder.dtype
        )
        """The backend; see engine/attention.py."""
        activate(self.attention)
        self._config = loaded.model.config
        self.vision_encoder = VisionEncoder(loaded.model.model.visual, self.attention)
        self.positions = partial(
            positions, tokens_per_second=self.frame_spec(config).tokens_per_second
        )

    def frame_spec(self, config: ModelConfig) -> VisionSpec:
        """Return the sizes by which frames become tokens, within the limits of `config`."""
        return VisionSpec.of(self._config, config)
