"""transformers' Trainer for clips."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from .checkpoints import translate_write_errors
from .divergence import check_finite, non_finite_weight
from .packing import IGNORED


class ClipTrainer(Trainer):
    """Weighs every token equally, within a step and within the validation.

    Trainer does so within a step if it knows the step's number of tokens. A loss, a gradient or a
    weight that isn't finite ends the run, in all processes, before it reaches a saved state.
    """

    _step_loss: Tensor | float = 0.0

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Add up the losses of a step's batches."""
        loss: Tensor = super().training_step(*args, **kwargs)
        self._step_loss += loss
        return loss

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        """Check the step before it changes the weights.

        Without a gradient scaler, a single NaN would reach every weight and stay in AdamW's
        moments. A scaler (float16) skips steps with infinite gradients itself.
        """
        norm = super()._get_grad_norm(*args, **kwargs)
        loss, self._step_loss = float(self._step_loss), 0.0
        has_scaler = self.accelerator.scaler is not None
        gradient_norm = 0.0 if norm is None or has_scaler else float(norm)
        values = {"loss": loss, "norm of the gradients": gradient_norm}
        self._check_finite(values, step=self.state.global_step + 1)
        return norm

    def _check_finite(self, values: dict[str, float], *, step: int) -> None:
        """Raise ModelError in every process if a value isn't finite in one of them."""
        shared = self.accelerator.reduce(torch.tensor([*values.values()], device=self.args.device))
        reduced = dict(zip(values, shared.tolist(), strict=True))
        check_finite(reduced, step=step, steps=Path(self.args.output_dir))

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
            self._check_finite({"validation loss": loss / tokens}, step=self.state.global_step)
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
        """Save a state whose weights are finite; report a full disk in one line."""
        is_wrong = non_finite_weight(self.model) is not None
        weights = {"sum of the weights": math.nan if is_wrong else 0.0}
        self._check_finite(weights, step=self.state.global_step)
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
