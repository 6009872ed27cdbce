"""What test_distributed.py starts, once or as several processes: training.sft on a CPU.

It adds nothing that a run on GPUs lacks. FSDP is let through where accelerate takes GPUs only, and
DeepSpeed must not compile its shared memory for two minutes. What a process holds of the weights
and the optimizer's state is written down, and one may be killed.
"""

from __future__ import annotations

import json
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

KILLED_AT = "TEST_KILLED_AT"
"""Variable of the environment: the step at whose beginning the last process is killed."""


def main() -> int:
    torch.set_num_threads(1)
    if process_rank().count > 1 and find_spec("deepspeed"):
        begin_deepspeed()
    let_fsdp_run_on_cpus()
    sft.trainer_for = watched_trainer_for
    return sft.main()


def begin_deepspeed() -> None:
    """What it would compile for CPUs only takes two minutes, in silence."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def let_fsdp_run_on_cpus() -> None:
    """accelerate has a list of the devices whose plugin it heeds; FSDP itself runs on gloo."""
    made = AcceleratorState.__init__

    def make(self: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **named: Any) -> None:
        made(self, *args, fsdp_plugin=fsdp_plugin, **named)
        if fsdp_plugin and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = make  # type: ignore[method-assign]


def watched_trainer_for(
    recipe: Recipe, model: Any, tokenizer: Any, output: Path, rank: Rank
) -> Trainer:
    trainer = trainer_for(recipe, model, tokenizer, output, rank)
    trainer.add_callback(Watching(trainer, output, rank))
    return trainer


class Watching(TrainerCallback):
    """Writes down what this process holds after its first step; is killed where that is asked."""

    def __init__(self, trainer: Trainer, output: Path, rank: Rank) -> None:
        self._trainer, self._output, self._shard = trainer, output, rank
        self._killed_at = int(os.environ.get(KILLED_AT, "-1"))

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        is_last = self._shard.number == self._shard.count - 1
        if state.global_step + 1 == self._killed_at and is_last:
            last = Path(args.output_dir) / f"checkpoint-{state.global_step}" / TRAINER_STATE_NAME
            while not last.exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step != 1:
            return
        model = self._trainer.model_wrapped
        held = {
            "weights": sum(map(own_size, model.parameters())),
            "optimizer": sum(map(own_size, tensors(self._trainer.optimizer.state))),
        }
        (self._output / f"held-{self._shard.number}.json").write_text(json.dumps(held))


def own_size(tensor: Any) -> int:
    """Numbers of a weight that lie in this process."""
    if isinstance(tensor, DTensor):
        return tensor.to_local().numel()
    own = getattr(tensor, "ds_tensor", tensor)
    return int(own.numel())


def tensors(state: Any) -> list[torch.Tensor]:
    """The moments that an optimizer keeps; not its counts of steps."""
    return [its for one in state.values() for its in one.values() if getattr(its, "ndim", 0)]


if __name__ == "__main__":
    sys.exit(main())
