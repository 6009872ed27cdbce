"""How much memory a run will need, told before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedConfig, Qwen2_5_VLForConditionalGeneration

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.qwen2_5.checkpoint import declared, resolve

from .datasets.cutting import CutConfig
from .recipe import Recipe
from .weights import adapted

_TEXT_OF_ROUND = 40
"""Tokens of a round beside its frames: time, headers and what is said."""

_FOUR_BITS = 0.516
"""Bytes of a weight in 4 bits, with its share of the scales (arXiv 2305.14314, section 3)."""


@dataclass(frozen=True)
class Memory:
    """GB (10^9 bytes) on each device."""

    weights_gb: float
    gradients_gb: float
    optimizer_gb: float
    activations_gb: float
    parameters: int
    learnt: int

    @property
    def total_gb(self) -> float:
        """All of it."""
        return self.weights_gb + self.gradients_gb + self.optimizer_gb + self.activations_gb

    def __str__(self) -> str:
        return (
            f"memory: about {self.total_gb:.1f} GB (weights {self.weights_gb:.1f}, gradients "
            f"{self.gradients_gb:.1f}, optimizer {self.optimizer_gb:.1f}, activations "
            f"{self.activations_gb:.1f}); {self.learnt / 1e6:.1f} of {self.parameters / 1e6:.1f} "
            "million parameters are learnt"
        )


def estimate(recipe: Recipe, processes: int = 1) -> Memory:
    """What `start` will need on each device. ModelError if it is not known.

    Activations are the text decoder's; a vision tower that learns keeps some of its own. Recorded
    clips are taken to be as long as an export makes them by default.
    """
    config = declared(resolve(recipe.start))
    every, four_bit, learnt = _parameters(recipe, config)
    sharding = recipe.training.sharding
    of_weights = processes if sharding in ("zero3", "fsdp") else 1
    of_others = processes if sharding else 1
    half = recipe.training.bfloat16
    small = half and recipe.lora is not None
    adapters = learnt if recipe.lora else 0
    weights = (2 if small else 4) * (every - four_bit) + _FOUR_BITS * four_bit + 4 * adapters
    return Memory(
        weights_gb=weights / of_weights / 1e9,
        gradients_gb=4 * learnt / of_others / 1e9,
        optimizer_gb=8 * learnt / of_others / 1e9,
        activations_gb=_activations(recipe, config, 2 if half else 4) / 1e9,
        parameters=every,
        learnt=learnt,
    )


def clip_tokens(settings: Settings, clip_s: float) -> int:
    """Most tokens of a clip: two frames of a round make one grid."""
    frames = settings.frames
    grids = -(-frames.frames_per_chunk // 2)
    window = settings.window.text_sink + settings.window.text_window
    seen = _rounds(settings, clip_s) * grids * settings.model.max_frame_tokens
    return seen + _text_tokens(settings, clip_s) + window


def _clip_s(recipe: Recipe) -> float:
    if recipe.data:
        return CutConfig().clip_s
    return recipe.clips.rounds * recipe.settings.frames.chunk_seconds


def _rounds(settings: Settings, clip_s: float) -> int:
    return settings.frames.whole_chunks(clip_s)


def _text_tokens(settings: Settings, clip_s: float) -> int:
    """Tokens of a clip's rounds beside their frames; nothing else is learnt to be said."""
    return _rounds(settings, clip_s) * _TEXT_OF_ROUND


def _parameters(recipe: Recipe, config: PreTrainedConfig) -> tuple[int, int, int]:
    """All, those that are kept in 4 bits, and those that are learnt."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
        every = sum(its.numel() for its in model.parameters())
        if recipe.lora:
            four_bit = _layers(model) if recipe.lora.four_bit else 0
            learnt = adapted(model, recipe.lora).parameters()
            return every, four_bit, sum(its.numel() for its in learnt if its.requires_grad)
    if recipe.training.freeze_vision:
        model.model.visual.requires_grad_(False)
    return every, 0, sum(its.numel() for its in model.parameters() if its.requires_grad)


def _layers(model: Qwen2_5_VLForConditionalGeneration) -> int:
    """Weights of the text decoder's own layers."""
    layers = model.model.language_model.modules()
    return sum(its.weight.numel() for its in layers if isinstance(its, nn.Linear))


def _activations(recipe: Recipe, config: PreTrainedConfig, bytes_each: int) -> float:
    """Bytes at the highest: at the logits, or while the last layer's gradients are computed.

    What a layer keeps was counted with torch's hooks for saved tensors: the inputs of its matrices,
    the gate and its product, keys and values, and float32 copies for both of its norms.
    """
    text = config.get_text_config()
    clips, clip_s = recipe.training.batch_clips, _clip_s(recipe)
    of_clip = clip_tokens(recipe.settings, clip_s)
    tokens, hidden, inner = clips * of_clip, text.hidden_size, text.intermediate_size
    keys = hidden // text.num_attention_heads * text.num_key_value_heads
    kept = tokens * (bytes_each * (8 * hidden + 4 * inner + 2 * keys) + 8 * hidden)
    gradients = tokens * bytes_each * (5 * hidden + 3 * inner)
    # Places where one row of a batch says something are computed for all of them.
    rows = 1 if recipe.training.packing else clips
    said = clips * min(of_clip, rows * _text_tokens(recipe.settings, clip_s))
    # In float32: their logarithms, and gradients of both.
    logits = 12 * said * text.vocab_size
    if recipe.training.gradient_checkpointing:
        inputs = text.num_hidden_layers * bytes_each * tokens * hidden
        return float(inputs + max(kept + gradients, logits))
    return float(text.num_hidden_layers * kept + max(gradients, logits))
