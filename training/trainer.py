"""transformers' Trainer, set up for a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.integrations import is_tensorboard_available

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.chat_format import ChatFormat
from streamingvlm_ros.engine.qwen2_5.vision import VisionSpec
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.rank import Rank

from .attention import use_training_attention
from .clip_trainer import ClipTrainer
from .collate import Collator
from .data import training_clips, validation_clips
from .datasets.clips import RecordedClips
from .optimizer import MuonAndAdamW
from .progress import Progress
from .provenance import LOG
from .recipe import Recipe
from .sharding import check_fsdp_enabled, sharding_arguments, uses_fsdp
from .weights import TrainableModel

STEPS = "steps"


def trainer_for(
    recipe: Recipe,
    model: TrainableModel,
    *,
    tokenizer: PreTrainedTokenizerFast,
    output: Path,
    rank: Rank,
) -> Trainer:
    """Return a Trainer for `model` in this process. It writes STEPS and LOG into `output`.

    Raises:
        DataError: There are no clips.
        ConfigError: The weights can't be sharded as the recipe asks.
    """
    distributed = rank.count > 1
    if distributed:
        check_positions(recipe, VisionSpec.of(model.config, recipe.settings.model))
    use_training_attention(model)
    if recipe.training.gradient_checkpointing and not uses_fsdp(recipe.training, rank):
        enable_gradient_checkpointing(model)
    clips = training_clips(recipe, output, processes=rank.count)
    validation = validation_clips(recipe, output)
    recorded = [dataset for dataset in (clips, validation) if isinstance(dataset, RecordedClips)]
    trainer = ClipTrainer(
        model=model,
        args=_arguments(recipe, output / STEPS, validates=validation is not None, rank=rank),
        train_dataset=clips,
        eval_dataset=validation,
        data_collator=collator_for(
            model,
            tokenizer,
            settings=recipe.settings,
            always_sees=distributed,
            packing=recipe.training.packing,
        ),
        processing_class=tokenizer,
        callbacks=[
            _Intervals(),
            Progress(output / LOG, lambda: sum(dataset.skipped for dataset in recorded)),
        ],
        optimizers=(_optimizer(recipe, model), None),
    )
    check_fsdp_enabled(trainer, recipe.training)
    # The model's class declares that it doesn't take the number of tokens, but passes it on to the
    # loss. Without it Trainer weighs batches equally.
    trainer.model_accepts_loss_kwargs = True
    trainer.remove_callback(PrinterCallback)
    return trainer


class _Intervals(TrainerCallback):
    """Sets the intervals of the current recipe; Trainer takes those of the saved checkpoint."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.compute_steps(args, state.max_steps)


def check_positions(recipe: Recipe, spec: VisionSpec) -> None:
    """Raise ConfigError if a sharded model would get rounded positions: see `Collator`."""
    training, fps = recipe.training, recipe.settings.frames.fps
    is_fractional = spec.temporal_patch * spec.tokens_per_second % fps
    if training.sharding and training.bfloat16 and is_fractional:
        raise ConfigError(
            f"at fps: {fps:g} positions are fractions, which sharding: {training.sharding} rounds "
            "in bfloat16; use 1, 2 or 4 frames per second, no sharding, or bfloat16: false"
        )


def collator_for(
    model: TrainableModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    settings: Settings,
    always_sees: bool = False,
    packing: bool = False,
) -> Collator:
    """Return a collator that builds batches as the engine would stream the clips."""
    spec = VisionSpec.of(model.config, settings.model)
    return Collator(
        ChatFormat(tokenizer), settings, spec=spec, always_sees=always_sees, packing=packing
    )


def enable_gradient_checkpointing(model: TrainableModel) -> None:
    """Store only the inputs of layers, and compute activations again in the backward pass.

    Trainer would make the first layer's inputs require gradients, which torch no longer needs: a
    frozen vision tower would be computed twice, and backward, for nothing.
    """
    # transformers 5.20, the last for Python 3.10, lacks the newer name of this method.
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.disable_input_require_grads()


def _optimizer(recipe: Recipe, model: TrainableModel) -> MuonAndAdamW | None:
    """Return Muon; None leaves AdamW to Trainer, whose version works with DeepSpeed and FSDP."""
    training = recipe.training
    if training.optimizer == "adamw":
        return None
    trainable = [
        (name, weight) for name, weight in model.named_parameters() if weight.requires_grad
    ]
    return MuonAndAdamW(trainable, training.learning_rate, weight_decay=training.weight_decay)


def _arguments(recipe: Recipe, steps: Path, *, validates: bool, rank: Rank) -> TrainingArguments:
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
        # It would log the mean of the losses before instead of NaN.
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        # Clips of the world are random already; in their order, a batch has clips of one kind.
        train_sampling_strategy="random" if recipe.data else "sequential",
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to=["tensorboard"] if is_tensorboard_available() else [],
        seed=recipe.seed,
        # Without it, processes without a GPU would each train a model of their own.
        use_cpu=not torch.accelerator.is_available(),
        **sharding_arguments(training, rank),
    )
    # One GPU per process: with more, Trainer would split positions along their first axis.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
