"""Loss, gradients and weights that are no longer finite numbers: a run ends with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from streamingvlm_ros.errors import ModelError

from .checkpoints import last_complete


def check_finite(values: Mapping[str, float], *, step: int, steps: Path, model: nn.Module) -> None:
    """Raise ModelError if a value isn't finite. It names the last state below `steps`."""
    wrong = [f"the {name} is {value}" for name, value in values.items() if not is_finite(value)]
    if wrong:
        raise ModelError(f"step {step}: {' and '.join(wrong)}; {_remedy(step, steps, model=model)}")


def non_finite_weight(model: nn.Module) -> str | None:
    """Return the name of the first weight with a NaN or an infinity; None if all are finite.

    Each process of a sharded run looks at the shard that it holds.
    """
    for name, weight in model.named_parameters():
        if not own_shard(weight).isfinite().all():
            return name
    return None


def own_shard(weight: Tensor) -> Tensor:
    """Return the part of a weight that this process holds, with DeepSpeed, FSDP or neither."""
    shard: Tensor = getattr(weight.detach(), "_local_tensor", getattr(weight, "ds_tensor", weight))
    return shard


def is_finite(value: float) -> bool:
    """Return False for NaN and infinities."""
    return bool(torch.tensor(value).isfinite())


def _remedy(step: int, steps: Path, *, model: nn.Module) -> str:
    checkpoint, _ = last_complete(steps)
    if checkpoint:
        return (
            f"the last good state is {checkpoint}: lower training: learning_rate or check the "
            "clips and start another run with --output, or continue from that state with --resume"
        )
    weight = non_finite_weight(model)
    if weight and step == 1:
        return f"the start holds NaN or infinity in {weight}: download or make it again"
    return "no state was saved: lower training: learning_rate or check the start and the clips"
