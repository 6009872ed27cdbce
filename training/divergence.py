"""Losses, gradients and weights that are no longer finite numbers: a run ends with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from streamingvlm_ros.errors import ModelError

from .checkpoints import last_complete


def check_start_weights(model: nn.Module, start: str) -> None:
    """Raise ModelError if a weight of the start isn't finite, as after a broken download."""
    name = non_finite_weight(model)
    if name:
        raise ModelError(
            f"the start {start} holds NaN or infinity in {name}: download it or make it again"
        )


def check_finite(values: Mapping[str, float], *, step: int, steps: Path) -> None:
    """Raise ModelError for the first value that isn't finite.

    The message names the last good state below `steps`.
    """
    wrong = [f"the {name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if not wrong:
        return
    state, _ = last_complete(steps)
    remedy = (
        f"the last good state is {state}: start another run with --output and a lower training: "
        "learning_rate or without wrong clips, or continue from that state with --resume"
        if state
        else "no state was saved: lower training: learning_rate, or remove wrong clips"
    )
    raise ModelError(f"step {step}: {wrong[0]}; {remedy}")


def non_finite_weight(model: nn.Module) -> str | None:
    """Return the name of the first weight with NaN or infinity; None if all are finite.

    Each process of a sharded run looks at the shard that it holds.
    """
    for name, weight in model.named_parameters():
        if not _own_shard(weight.detach()).isfinite().all():
            return name
    return None


def _own_shard(weight: Tensor) -> Tensor:
    if isinstance(weight, DTensor):
        return weight.to_local()
    shard: Tensor = getattr(weight, "ds_tensor", weight)  # of DeepSpeed
    return shard
