"""The engine: one set of weights, any number of streams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..config import Settings
from ..types import Frame
from .chat_format import ChatFormat
from .ledger import Grid
from .qwen2_5.checkpoint import LoadedModel, load
from .qwen2_5.decoder import Decoder
from .qwen2_5.vision import VisionSpec
from .qwen2_5.vision_encoder import VisionEncoder
from .stream import Stream
from .window import token_bound

LATEST_S = 9_999_999_999.9
"""The longest time that a round's turn has room for: a clock may jump by decades."""


class StreamingEngine:
    """Weights and what follows from them. Not thread-safe: one thread owns it and its streams."""

    def __init__(self, loaded: LoadedModel, settings: Settings) -> None:
        self.settings = settings
        self.complete = loaded.complete
        self.chat_format = ChatFormat(loaded.tokenizer)
        self.stop_ids = loaded.stop_ids | {self.chat_format.end_id}
        self.decoder = Decoder(loaded.model)
        vision = loaded.model.config.vision_config
        self.tokens_per_second = float(vision.tokens_per_second)
        self.vision_spec = VisionSpec.of(vision, settings.model)
        self.question_spec = self.vision_spec.of_questions(settings.asking)
        self.grid_seconds = self.vision_spec.grid_seconds(settings.frames.fps)
        tower = loaded.model.model.visual
        flash = tower.config._attn_implementation == "flash_attention_2"
        self._encoder = VisionEncoder(tower, "flash" if flash else "masked")

    @classmethod
    def from_pretrained(cls, checkpoint: Path | str, settings: Settings) -> StreamingEngine:
        """Load a checkpoint's folder or hub id (see `model.resolve`). ModelError if it can't."""
        return cls(load(checkpoint, settings.model), settings)

    def open_stream(self) -> Stream:
        """A new stream: its own cache and random numbers, this engine's weights."""
        return Stream(self)

    @property
    def vision_tokens_per_round(self) -> int:
        """Most vision tokens of one round."""
        frames = self.settings.frames.frames_per_chunk
        steps = math.ceil(frames / self.vision_spec.temporal_patch)
        return steps * self.vision_spec.max_tokens

    @property
    def remembered_bound(self) -> int:
        """Most tokens of remembered questions and answers in a stream's cache."""
        asking = self.settings.asking
        return asking.max_question_tokens + asking.max_answer_tokens + 2

    @property
    def window_bound(self) -> int:
        """Most slots that a stream itself fills."""
        settings, chat_format = self.settings, self.chat_format
        return token_bound(
            settings.window,
            fixed=sum(map(len, chat_format.opening()))
            + len(chat_format.encode(settings.prompt.instruction))
            + self.remembered_bound,
            vision=self.vision_tokens_per_round + 2,
            user=self._turn,
            assistant=settings.sampling.max_new_tokens + len(chat_format.closing(0)),
        )

    @property
    def room(self) -> int:
        """Slots beside a stream's own: for the longest questions of each kind."""
        asking, chat_format = self.settings.asking, self.chat_format
        question = len(chat_format.cut_short(0)) + self._turn + asking.max_question_tokens
        own = question + asking.max_answer_tokens
        opening = sum(map(len, chat_format.opening()))
        frame = self.question_spec.max_tokens + 2
        steps = math.ceil(asking.recent_frames / self.vision_spec.temporal_patch)
        said = (
            sum(map(len, chat_format.assistant_turn(0, ""))) + self.settings.sampling.max_new_tokens
        )
        return max(
            asking.questions_at_once * own,
            opening + steps * frame + own,
            opening + asking.history_moments * (self._turn + frame + said) + own,
        )

    def shortened(self, text: str) -> str:
        """A narration of long ago, no longer than one round's may be."""
        ids = self.chat_format.encode(text)[: self.settings.sampling.max_new_tokens]
        return self.chat_format.decode(ids)

    def look(self, frames: Sequence[Frame], spec: VisionSpec) -> tuple[Tensor, Grid]:
        """Vision tokens (tokens, hidden) of frames that belong together, and their grid."""
        return self._encoder.encode([[frame.image for frame in frames]], spec)[0]

    def embed(self, ids: Sequence[int], seen: Tensor | None = None) -> Tensor:
        """(tokens, hidden) embeddings of ids, with `seen` in the places of vision tokens."""
        tokens = torch.tensor(ids, device=self.decoder.device)
        embedded = self.decoder.embed(tokens)
        if seen is not None:
            embedded[tokens == self.chat_format.pad_id] = seen.to(embedded.dtype)
        return embedded

    @property
    def _turn(self) -> int:
        """Most tokens of a turn's header and times."""
        return sum(map(len, self.chat_format.user_turn(0, LATEST_S, LATEST_S)))
