"""Weights spread over several processes, by DeepSpeed or FSDP, and put together again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import Trainer
from transformers.integrations import is_deepspeed_available, is_deepspeed_zero3_enabled

from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.rank import Rank

from .recipe import TrainConfig

FSDP = "fsdp"
_CONFIGS = Path(__file__).parent / "recipes"


def spread_by_fsdp(training: TrainConfig, rank: Rank) -> bool:
    """Whether FSDP is asked for, which also computes activations twice by itself."""
    return training.sharding == FSDP and rank.count > 1


def sharding_arguments(training: TrainConfig, rank: Rank) -> dict[str, Any]:
    """What TrainingArguments must be told.

    A process that is alone has nothing to spread and needs no DeepSpeed. ConfigError if that is
    needed and not installed.
    """
    if not training.sharding or rank.count == 1:
        return {}
    if spread_by_fsdp(training, rank):
        # Each process saves its own part of a state to resume from. What FSDP itself computes
        # twice isn't gathered twice.
        config = {
            "state_dict_type": "SHARDED_STATE_DICT",
            "activation_checkpointing": training.gradient_checkpointing,
        }
        return {"fsdp": True, "fsdp_config": config}
    if not is_deepspeed_available():
        raise ConfigError(
            f"sharding: {training.sharding} needs deepspeed: pip install "
            "'streamingvlm_ros[deepspeed]'"
        )
    config_path = _CONFIGS / f"{training.sharding}.json"
    return {"deepspeed": str(config_path)}


def check_sharded(trainer: Trainer, training: TrainConfig) -> None:
    """ConfigError if FSDP was asked for and won't be: on CPUs accelerate drops it silently."""
    if trainer.args.fsdp and not trainer.is_fsdp_enabled:
        raise ConfigError(f"sharding: {training.sharding} needs GPUs; on CPUs take zero2 or zero3")


def whole_weights(trainer: Trainer) -> dict[str, Tensor] | None:
    """All weights, on the first process; None if every process has all of them anyway.

    Every process must call it: each gives its part.
    """
    if not trainer.is_fsdp_enabled and not is_deepspeed_zero3_enabled():
        return None
    weights: dict[str, Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return weights
