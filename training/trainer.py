"""transformers' Trainer, set up as a recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, PrinterCallback, Trainer, TrainingArguments
from transformers.integrations import is_tensorboard_available

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.dialogue import Dialogue
from streamingvlm_ros.engine.vision import VisionSpec

from .attention import EQUAL_CHUNKS, register
from .collate import Collator
from .data import training_clips, validation_clips
from .optimizer import MuonAndAdamW
from .progress import Progress
from .recipe import Recipe
from .sharding import check_sharded, process_count, sharding_arguments
from .weights import Trained


class ClipTrainer(Trainer):
    """Weighs every token alike, in whichever clip of a step it stands.

    That is what Trainer does where the number of the step's tokens is known.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """A step of clips that could all not be read has no tokens: its loss is 0, not 0 / 0."""
        if num_items_in_batch is not None:
            num_items_in_batch = num_items_in_batch.clamp(min=1)
        # FSDP computes layers again for their gradients: a cache would hold their keys twice then.
        inputs = {**inputs, "use_cache": False}
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

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
    steps: Path,
    log: Path,
) -> Trainer:
    """Ready to train `model`, together with the other processes; states go to `steps`.

    DataError if there are no clips; ConfigError if the weights can't be spread as the recipe says.
    """
    if not torch.cuda.is_available():
        register()
        model.set_attn_implementation({"vision_config": EQUAL_CHUNKS, "text_config": "sdpa"})
    processes, validation = process_count(), validation_clips(recipe, output)
    trainer = ClipTrainer(
        model=model,
        args=_arguments(recipe, steps, validation is not None),
        train_dataset=training_clips(recipe, output, processes),
        eval_dataset=validation,
        data_collator=collator_for(model, tokenizer, recipe.settings, processes > 1),
        processing_class=tokenizer,
        callbacks=[Progress(log)],
        optimizers=(_optimizer(recipe, model), None),
    )
    check_sharded(trainer, recipe.training)
    # The model's class says no, but hands it to the loss. Else Trainer weighs batches alike.
    trainer.model_accepts_loss_kwargs = True
    trainer.remove_callback(PrinterCallback)
    return trainer


def collator_for(
    model: Trained,
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    always_sees: bool = False,
) -> Collator:
    """The collator that makes batches for a model as the engine would stream it."""
    vision = model.config.vision_config
    spec = VisionSpec.of(vision, settings.model)
    seconds = float(vision.tokens_per_second)
    return Collator(Dialogue(tokenizer), settings, spec, seconds, always_sees)


def _optimizer(recipe: Recipe, model: Trained) -> MuonAndAdamW | None:
    """None leaves it to Trainer, whose AdamW also runs under DeepSpeed and FSDP."""
    training = recipe.training
    if training.optimizer == "adamw":
        return None
    learnt = [(name, its) for name, its in model.named_parameters() if its.requires_grad]
    return MuonAndAdamW(learnt, training.learning_rate, training.weight_decay)


def _arguments(recipe: Recipe, steps: Path, validates: bool) -> TrainingArguments:
    training = recipe.training
    return TrainingArguments(
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
        **sharding_arguments(training),
    )
