"""How much memory a run will need, told before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import AutoConfig, PreTrainedConfig, Qwen2_5_VLForConditionalGeneration

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.model import resolve

from .cutting import CutConfig
from .recipe import Recipe
from .weights import adapted

_TEXT_OF_ROUND = 40
"""Tokens of a round beside its frames: time, headers and what is said."""


@dataclass(frozen=True)
class Memory:
    """GB (10^9 bytes) on each device."""

    weights_gb: float
    gradients_gb: float
    optimizer_gb: float
    activations_gb: float
    parameters: int
    learnt: int

    def __str__(self) -> str:
        total_gb = self.weights_gb + self.gradients_gb + self.optimizer_gb + self.activations_gb
        return (
            f"memory: about {total_gb:.1f} GB (weights {self.weights_gb:.1f}, gradients "
            f"{self.gradients_gb:.1f}, optimizer {self.optimizer_gb:.1f}, activations "
            f"{self.activations_gb:.1f}); {self.learnt / 1e6:.1f} of {self.parameters / 1e6:.1f} "
            "million parameters are learnt"
        )


def estimate(recipe: Recipe, processes: int = 1) -> Memory:
    """What `start` will need on each device. ModelError or OSError if it is not known.

    Activations follow Korthikanti et al. 2022 (arXiv 2205.05198), without the scores that fused
    attention doesn't keep; logits are counted in float32, with their gradient.
    """
    config = AutoConfig.from_pretrained(resolve(recipe.start), trust_remote_code=False)
    every, learnt = _parameters(recipe, config)
    sharding = recipe.training.sharding
    of_weights = processes if sharding in ("zero3", "fsdp") else 1
    of_others = processes if sharding else 1
    half = recipe.training.bfloat16
    small = half and recipe.lora is not None
    return Memory(
        weights_gb=(2 if small else 4) * every / of_weights / 1e9,
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
    rounds = int(clip_s // frames.chunk_seconds)
    window = settings.window.text_sink + settings.window.text_window
    return rounds * (grids * settings.model.max_frame_tokens + _TEXT_OF_ROUND) + window


def _parameters(recipe: Recipe, config: PreTrainedConfig) -> tuple[int, int]:
    """All, and those that are learnt."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
        every = sum(its.numel() for its in model.parameters())
        if recipe.lora:
            return every, sum(
                p.numel() for p in adapted(model, recipe.lora).parameters() if p.requires_grad
            )
    if recipe.training.freeze_vision:
        model.model.visual.requires_grad_(False)
    return every, sum(its.numel() for its in model.parameters() if its.requires_grad)


def _activations(recipe: Recipe, config: PreTrainedConfig, bytes_each: int) -> float:
    text = config.text_config
    tokens = recipe.training.batch_clips * clip_tokens(recipe.settings, CutConfig().clip_s)
    of_layer = 17 * bytes_each * tokens * text.hidden_size
    kept = bytes_each * tokens * text.hidden_size
    layers = text.num_hidden_layers
    checkpointed = recipe.training.gradient_checkpointing
    inside = layers * kept + of_layer if checkpointed else layers * of_layer
    return float(inside + 8 * tokens * text.vocab_size)
