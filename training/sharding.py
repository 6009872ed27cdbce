"""Weights sharded over several processes by DeepSpeed or FSDP, and collected again."""

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


def uses_fsdp(training: TrainConfig, rank: Rank) -> bool:
    """Return True if FSDP shards the weights. It then does activation checkpointing itself."""
    return training.sharding == FSDP and rank.count > 1


def sharding_arguments(training: TrainConfig, rank: Rank) -> dict[str, Any]:
    """Return the TrainingArguments for a recipe's sharding.

    A single process has nothing to shard and needs no DeepSpeed.

    Raises:
        ConfigError: DeepSpeed is needed and not installed.
    """
    if not training.sharding or rank.count == 1:
        return {}
    if uses_fsdp(training, rank):
        # Each process saves its own shard of a checkpoint. With FSDP's own activation
        # checkpointing weights aren't gathered twice.
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


def check_fsdp_enabled(trainer: Trainer, training: TrainConfig) -> None:
    """Raise ConfigError if accelerate has dropped FSDP, as it does silently on CPUs."""
    if trainer.args.fsdp and not trainer.is_fsdp_enabled:
        raise ConfigError(f"sharding: {training.sharding} needs GPUs; on CPUs use zero2 or zero3")


def full_state_dict(trainer: Trainer) -> dict[str, Tensor] | None:
    """Return all weights on the first process; None if every process has all of them anyway.

    Every process must call it, to contribute its shard.
    """
    if not trainer.is_fsdp_enabled and not is_deepspeed_zero3_enabled():
        return None
    weights: dict[str, Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return weights
