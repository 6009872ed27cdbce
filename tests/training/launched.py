"""Program of test_distributed.py, for one process or several: streamingvlm_training.sft on a CPU.

Two changes are for CPUs only: accelerate's check that FSDP has GPUs is bypassed, and DeepSpeed's
shared-memory extension, which takes two minutes to compile, is off. Each process records its share
of the weights and of the optimizer's state, and one may be killed or given a NaN.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, DistributedType, PartialState
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME

from streamingvlm_ros.rank import Rank, process_rank
from streamingvlm_training import sft
from streamingvlm_training.recipe import Recipe
from streamingvlm_training.trainer import trainer_for

KILL_AT_STEP = "TEST_KILL_AT_STEP"
"""Environment variable: the step at whose beginning the last process is killed."""

POISON_AT_STEP = "TEST_POISON_AT_STEP"
"""Environment variable: the step whose loss is NaN in the last process alone."""


def main() -> int:
    torch.set_num_threads(1)
    if process_rank().count > 1 and find_spec("deepspeed"):
        prepare_deepspeed()
    let_fsdp_run_on_cpus()
    sft.trainer_for = watched_trainer_for
    return sft.main()


def prepare_deepspeed() -> None:
    """Disable an extension for CPUs that takes two minutes to compile, without any output."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def let_fsdp_run_on_cpus() -> None:
    """Let accelerate use FSDP on CPUs, where it ignores the plugin; FSDP itself runs on gloo."""
    original = AcceleratorState.__init__

    def init(self: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = init  # type: ignore[method-assign]


def watched_trainer_for(
    recipe: Recipe, model: Any, *, tokenizer: Any, output: Path, rank: Rank
) -> Trainer:
    trainer = trainer_for(recipe, model, tokenizer=tokenizer, output=output, rank=rank)
    trainer.add_callback(Watch(trainer, output, rank=rank))
    return trainer


class Watch(TrainerCallback):
    """Records the memory of this process after its first step, and kills it if asked to."""

    def __init__(self, trainer: Trainer, output: Path, *, rank: Rank) -> None:
        self._trainer, self._output, self._rank = trainer, output, rank
        self._kill_at_step = int(os.environ.get(KILL_AT_STEP, "-1"))
        self._poison_at_step = int(os.environ.get(POISON_AT_STEP, "-1"))

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        is_last = self._rank.number == self._rank.count - 1
        if state.global_step + 1 == self._poison_at_step and is_last:
            head = self._trainer.model.lm_head
            head.register_forward_hook(lambda _, inputs, logits: logits * math.nan)
        if state.global_step + 1 == self._kill_at_step and is_last:
            last = Path(args.output_dir) / f"checkpoint-{state.global_step}" / TRAINER_STATE_NAME
            while not last.exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step != 1:
            return
        model = self._trainer.model_wrapped
        sizes = {
            "weights": sum(map(own_size, model.parameters())),
            "optimizer": sum(map(own_size, tensors(self._trainer.optimizer.state))),
        }
        (self._output / f"sizes-{self._rank.number}.json").write_text(json.dumps(sizes))


def own_size(tensor: Any) -> int:
    """Return how many numbers of a weight this process has."""
    if isinstance(tensor, DTensor):
        return tensor.to_local().numel()
    own = getattr(tensor, "ds_tensor", tensor)
    return int(own.numel())


def tensors(state: Any) -> list[torch.Tensor]:
    """Return an optimizer's moments, without its step counts."""
    values = (value for entry in state.values() for value in entry.values())
    return [value for value in values if getattr(value, "ndim", 0)]


if __name__ == "__main__":
    sys.exit(main())
