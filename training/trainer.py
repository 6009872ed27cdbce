"""transformers' Trainer, set up as a recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.integrations import is_tensorboard_available
from transformers.trainer_utils import EvalLoopOutput

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.chat_format import ChatFormat
from streamingvlm_ros.engine.qwen2_5.vision import VisionSpec
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.rank import Rank

from .attention import choose
from .checkpoints import writing
from .collate import Collator
from .data import training_clips, validation_clips
from .datasets.clips import RecordedClips
from .optimizer import MuonAndAdamW
from .packing import IGNORED
from .progress import Progress
from .provenance import LOG
from .recipe import Recipe
from .sharding import check_sharded, sharding_arguments, spread_by_fsdp
from .weights import Trained

STEPS = "steps"


class ClipTrainer(Trainer):
    """Weighs every token alike, in whichever clip of a step or of the validation it stands.

    In a step that is what Trainer does where the number of the step's tokens is known.
    """

    def evaluation_loop(self, *given: Any, **named: Any) -> EvalLoopOutput:
        """The loss is the mean of all tokens: Trainer's is that of batches, even of empty ones.

        Where nothing could be read there is none. Processes repeat a few clips until each of them
        has as many.
        """
        self._validated = torch.zeros(2, device=self.args.device)
        told = super().evaluation_loop(*given, **named)
        loss, tokens = self.accelerator.reduce(self._validated, "mean").tolist()
        told.metrics.pop("eval_loss")
        if tokens:
            told.metrics["eval_loss"] = loss / tokens
        return told

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """A step of clips that could all not be read has no tokens: its loss is 0, not 0 / 0."""
        tokens = num_items_in_batch
        at_least_one = None if tokens is None else tokens.clamp(min=1)
        # FSDP computes layers again for their gradients: a cache would hold their keys twice then.
        inputs = {**inputs, **only_learnt(inputs["labels"]), "use_cache": False}
        loss, outputs = super().compute_loss(model, inputs, True, at_least_one)
        if not model.training:
            self._validated += torch.stack([loss.detach() * tokens, tokens])
        return (loss, outputs) if return_outputs else loss

    def _save_checkpoint(self, *given: Any, **named: Any) -> None:
        """A full disk is told in one line."""
        with writing(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(*given, **named)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Whole weights, by their published names: Trainer knows only those in memory.

        By itself it would go on from the start's weights, with no more than a warning.
        """
        # peft, which need not be installed, marks its models so.
        if hasattr(self.model, "peft_config") or self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = type(self.model).from_pretrained(resume_from_checkpoint, dtype=self.model.dtype)
        self.model.load_state_dict(saved.state_dict())


def trainer_for(
    recipe: Recipe,
    model: Trained,
    tokenizer: PreTrainedTokenizerFast,
    output: Path,
    rank: Rank,
) -> Trainer:
    """Ready to train `model`, as the process `shard`; STEPS and LOG of `output` fill meanwhile.

    DataError if there are no clips; ConfigError if the weights can't be spread as the recipe says.
    """
    together = rank.count > 1
    if together:
        check_positions(recipe, VisionSpec.of(model.config, recipe.settings.model))
    choose(model)
    if recipe.training.gradient_checkpointing and not spread_by_fsdp(recipe.training, rank):
        checkpoint_layers(model)
    clips = training_clips(recipe, output, rank.count)
    validation = validation_clips(recipe, output)
    recorded = [its for its in (clips, validation) if isinstance(its, RecordedClips)]
    trainer = ClipTrainer(
        model=model,
        args=_arguments(recipe, output / STEPS, validation is not None, rank),
        train_dataset=clips,
        eval_dataset=validation,
        data_collator=collator_for(
            model, tokenizer, recipe.settings, together, recipe.training.packing
        ),
        processing_class=tokenizer,
        callbacks=[
            _Intervals(),
            Progress(output / LOG, lambda: sum(its.skipped for its in recorded)),
        ],
        optimizers=(_optimizer(recipe, model), None),
    )
    check_sharded(trainer, recipe.training)
    # The model's class says no, but hands it to the loss. Else Trainer weighs batches alike.
    trainer.model_accepts_loss_kwargs = True
    trainer.remove_callback(PrinterCallback)
    return trainer


class _Intervals(TrainerCallback):
    """Saves and reports as the recipe says now: of a state Trainer takes what it said then."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.compute_steps(args, state.max_steps)


def check_positions(recipe: Recipe, spec: VisionSpec) -> None:
    """ConfigError if a sharded model would get positions that are rounded: see `Collator`."""
    its, fps = recipe.training, recipe.settings.frames.fps
    if its.sharding and its.bfloat16 and spec.temporal_patch * spec.tokens_per_second % fps:
        raise ConfigError(
            f"at {fps:g} frames per second positions are fractions, which sharding: {its.sharding} "
            "rounds in bfloat16: take 1, 2 or 4 frames, no sharding, or bfloat16: false"
        )


def collator_for(
    model: Trained,
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    always_sees: bool = False,
    packing: bool = False,
) -> Collator:
    """The collator that makes batches for a model as the engine would stream it."""
    spec = VisionSpec.of(model.config, settings.model)
    return Collator(ChatFormat(tokenizer), settings, spec, always_sees, packing)


def checkpoint_layers(model: Trained) -> None:
    """Layers keep their inputs only.

    Left to Trainer, what goes into the first of them would get gradients, which torch needs no
    more: a frozen vision tower would be computed twice and walked back through, in vain.
    """
    # Its newer name isn't there in transformers 5.20, the last for Python 3.10.
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.disable_input_require_grads()


def only_learnt(labels: Tensor) -> dict[str, Tensor]:
    """Where the model must say what comes next, and what that is.

    Most tokens are frames, of which nothing is learnt: with 152 000 words, logits of them all would
    need more memory than everything else.
    """
    following = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    places = (following != IGNORED).any(0).nonzero()[:, 0]
    return {"logits_to_keep": places, "shift_labels": following[:, places]}


def _optimizer(recipe: Recipe, model: Trained) -> MuonAndAdamW | None:
    """None leaves it to Trainer, whose AdamW also runs under DeepSpeed and FSDP."""
    training = recipe.training
    if training.optimizer == "adamw":
        return None
    learnt = [(name, its) for name, its in model.named_parameters() if its.requires_grad]
    return MuonAndAdamW(learnt, training.learning_rate, training.weight_decay)


def _arguments(recipe: Recipe, steps: Path, validates: bool, rank: Rank) -> TrainingArguments:
    training = recipe.training
    arguments = TrainingArguments(
        output_dir=str(steps),
        max_steps=-1 if training.epochs else training.steps,
        num_train_epochs=training.epochs or 1.0,
        per_device_train_batch_size=training.batch_clips,
        per_device_eval_batch_size=training.batch_clips,
        gradient_accumulation_steps=training.accumulate,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=training.warmup_steps,
        bf16=training.bfloat16,
        save_steps=training.save_every,
        save_total_limit=2,
        eval_strategy="steps" if validates else "no",
        eval_steps=training.save_every,
        prediction_loss_only=True,
        logging_steps=training.log_every,
        remove_unused_columns=False,
        # Clips of the world are made at random already; in their order, those of a batch are alike.
        train_sampling_strategy="random" if recipe.data else "sequential",
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to=["tensorboard"] if is_tensorboard_available() else [],
        seed=recipe.seed,
        # Unless they are told, processes without a GPU train side by side instead of together.
        use_cpu=not torch.accelerator.is_available(),
        **sharding_arguments(training, rank),
    )
    # One process takes one GPU: Trainer would cut positions apart and give each GPU an axis.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
