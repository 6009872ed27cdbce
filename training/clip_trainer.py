"""transformers' Trainer for clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from .checkpoints import translate_write_errors
from .packing import IGNORED


class ClipTrainer(Trainer):
    """Weighs every token equally, within a step and within the validation.

    Trainer does so within a step if it knows the step's number of tokens.
    """

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Report the mean loss of all tokens; Trainer's is the mean of batches, even empty ones.

        There is no loss if nothing could be read. Processes repeat a few clips so that all have
        equally many.
        """
        self._validation = torch.zeros(2, device=self.args.device)
        output = super().evaluation_loop(*args, **kwargs)
        loss, tokens = self.accelerator.reduce(self._validation, "mean").tolist()
        output.metrics.pop("eval_loss")
        if tokens:
            output.metrics["eval_loss"] = loss / tokens
        return output

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Compute the loss; it is 0, not 0 / 0, if none of a step's clips could be read."""
        tokens = num_items_in_batch
        at_least_one = None if tokens is None else tokens.clamp(min=1)
        # FSDP recomputes layers for their gradients, which would add their keys to a cache twice.
        inputs = {**inputs, **loss_positions(inputs["labels"]), "use_cache": False}
        loss, outputs = super().compute_loss(model, inputs, True, at_least_one)
        if not model.training:
            self._validation += torch.stack([loss.detach() * tokens, tokens])
        return (loss, outputs) if return_outputs else loss

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Report a full disk in one line."""
        path = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        with translate_write_errors(path):
            super()._save_checkpoint(*args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load all weights by their published names; Trainer knows only the names in memory.

        Trainer would continue from the start's weights, with no more than a warning.
        """
        # peft, which may not be installed, marks its models with this attribute.
        if hasattr(self.model, "peft_config") or self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = type(self.model).from_pretrained(resume_from_checkpoint, dtype=self.model.dtype)
        self.model.load_state_dict(saved.state_dict())


def loss_positions(labels: Tensor) -> dict[str, Tensor]:
    """Return the model's arguments that restrict logits to the positions with a label.

    Most tokens are frames, which have no label. With 152 000 words, logits of all tokens would need
    more memory than everything else.
    """
    following = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    columns = (following != IGNORED).any(0).nonzero()[:, 0]
    return {"logits_to_keep": columns, "shift_labels": following[:, columns]}
