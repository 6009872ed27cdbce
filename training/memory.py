"""Estimate of a run's memory, before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedConfig, Qwen2_5_VLForConditionalGeneration

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.model import read_model_config, resolve

from .datasets.cutting import CutConfig
from .recipe import Recipe
from .weights import add_adapters, untie_head

_TEXT_OF_ROUND = 40
"""Tokens of a round beside its frames: time, headers and narration."""

_FOUR_BITS = 0.516
"""Bytes of a 4-bit weight with its share of the scales (arXiv 2305.14314, section 3)."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory on each device in GB (10^9 bytes)."""

    weights_gb: float
    gradients_gb: float
    optimizer_gb: float
    activations_gb: float
    parameters: int
    trainable: int

    @property
    def total_gb(self) -> float:
        """Sum of all parts."""
        return self.weights_gb + self.gradients_gb + self.optimizer_gb + self.activations_gb

    def __str__(self) -> str:
        trainable, total = self.trainable / 1e6, self.parameters / 1e6
        return (
            f"memory: about {self.total_gb:.1f} GB (weights {self.weights_gb:.1f}, gradients "
            f"{self.gradients_gb:.1f}, optimizer {self.optimizer_gb:.1f}, activations "
            f"{self.activations_gb:.1f}); {trainable:.1f} of {total:.1f} million "
            "parameters are trained"
        )


def estimate_memory(recipe: Recipe, processes: int = 1) -> MemoryEstimate:
    """Estimate the memory on each device.

    Activations are those of the text decoder; a trained vision tower needs some more. Recorded
    clips are assumed to be as long as `export` makes them by default.

    Raises:
        ModelError: `start` doesn't exist or can't be read.
    """
    config = read_model_config(resolve(recipe.start))
    total, four_bit, trainable = _parameters(recipe, config)
    sharding = recipe.training.sharding
    weight_shards = processes if sharding in ("zero3", "fsdp") else 1
    other_shards = processes if sharding else 1
    half = recipe.training.bfloat16
    weight_bytes = 2 if half and recipe.lora is not None else 4
    adapters = trainable if recipe.lora else 0
    weights = weight_bytes * (total - four_bit) + _FOUR_BITS * four_bit + 4 * adapters
    return MemoryEstimate(
        weights_gb=weights / weight_shards / 1e9,
        gradients_gb=4 * trainable / other_shards / 1e9,
        optimizer_gb=8 * trainable / other_shards / 1e9,
        activations_gb=_activations(recipe, config, bytes_each=2 if half else 4) / 1e9,
        parameters=total,
        trainable=trainable,
    )


def clip_tokens(settings: Settings, clip_s: float) -> int:
    """Return the maximum number of tokens of a clip. Two frames of a round make one grid."""
    frames = settings.frames
    grids = -(-frames.frames_per_chunk // 2)
    window = settings.window.text_sink + settings.window.text_window
    frame_tokens = _rounds(settings, clip_s) * grids * settings.model.max_frame_tokens
    return frame_tokens + _text_tokens(settings, clip_s) + window


def _clip_s(recipe: Recipe) -> float:
    if recipe.data:
        return CutConfig().clip_s
    return recipe.clips.rounds * recipe.settings.frames.chunk_seconds


def _rounds(settings: Settings, clip_s: float) -> int:
    return settings.frames.whole_chunks(clip_s)


def _text_tokens(settings: Settings, clip_s: float) -> int:
    """Return the tokens of a clip's rounds beside their frames. Only these can have a loss."""
    return _rounds(settings, clip_s) * _TEXT_OF_ROUND


def _parameters(recipe: Recipe, config: PreTrainedConfig) -> tuple[int, int, int]:
    """Return the numbers of all parameters, of those in 4 bits, and of those that are trained."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
        if recipe.lora and recipe.lora.head:
            untie_head(model)
        total = sum(parameter.numel() for parameter in model.parameters())
        if recipe.lora:
            four_bit = _decoder_weights(model) if recipe.lora.four_bit else 0
            return total, four_bit, _trainable(add_adapters(model, recipe.lora))
    if recipe.training.freeze_vision:
        model.model.visual.requires_grad_(False)
    return total, 0, _trainable(model)


def _trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _decoder_weights(model: Qwen2_5_VLForConditionalGeneration) -> int:
    """Return the number of weights in the text decoder's linear layers."""
    modules = model.model.language_model.modules()
    return sum(module.weight.numel() for module in modules if isinstance(module, nn.Linear))


def _activations(recipe: Recipe, config: PreTrainedConfig, *, bytes_each: int) -> float:
    """Return the peak in bytes: at the logits, or during the last layer's backward pass.

    The activations of a layer were counted with torch's hooks for saved tensors: the inputs of its
    matrices, the gate and its product, keys and values, and float32 copies for both norms.
    """
    text = config.get_text_config()
    clips, clip_s = recipe.training.batch_clips, _clip_s(recipe)
    tokens_per_clip = clip_tokens(recipe.settings, clip_s)
    tokens, hidden, inner = clips * tokens_per_clip, text.hidden_size, text.intermediate_size
    keys = hidden // text.num_attention_heads * text.num_key_value_heads
    layer = tokens * (bytes_each * (8 * hidden + 4 * inner + 2 * keys) + 8 * hidden)
    gradients = tokens * bytes_each * (5 * hidden + 3 * inner)
    # A position with a label in one row of a batch is computed in all rows.
    rows = 1 if recipe.training.packing else clips
    labelled = clips * min(tokens_per_clip, rows * _text_tokens(recipe.settings, clip_s))
    # Logits in float32, their logarithms, and the gradients of both.
    logits = 12 * labelled * text.vocab_size
    if recipe.training.gradient_checkpointing:
        inputs = text.num_hidden_layers * bytes_each * tokens * hidden
        return float(inputs + max(layer + gradients, logits))
    return float(text.num_hidden_layers * layer + max(gradients, logits))
