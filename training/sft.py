"""Supervised fine-tuning: `python -m training.sft RECIPE.yaml [--output DIR] [--resume]`.

Full attention on short, overlapping clips (arXiv 2510.09608, section 3.3): a clip is as long as
the window that the engine streams with, and its sequence is made by the engine's own code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
from transformers import (
    PreTrainedTokenizerFast,
    PrinterCallback,
    Qwen2_5_VLForConditionalGeneration,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from streamingvlm_ros.config import CHECKPOINT_SETTINGS, Settings
from streamingvlm_ros.engine.dialogue import Dialogue
from streamingvlm_ros.engine.model import load, resolve
from streamingvlm_ros.engine.vision import VisionSpec
from streamingvlm_ros.errors import ConfigError, StreamingVLMError

from .attention import EQUAL_CHUNKS, register
from .collate import Collator
from .optimizer import MuonAndAdamW
from .progress import Progress
from .recipe import Recipe, TrainConfig, read_recipe
from .scratch import new_model
from .tokenizer import train_tokenizer
from .world_clips import WorldClips, world_texts

LOG = "training.jsonl"
RECIPE = "recipe.yaml"
WEIGHTS = "model.safetensors"
MODEL = "model"


def train(recipe_path: Path, output: Path, resume: bool = False) -> Path:
    """Run a recipe; the finished checkpoint's folder, complete for the engine.

    In `output`: `steps/` to resume from, the log, and the checkpoint. ConfigError if the recipe
    is wrong, or `output` is not as `resume` expects it.
    """
    recipe = read_recipe(recipe_path)
    steps, log = output / "steps", output / LOG
    last = _last_step(steps, resume)
    steps.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model, tokenizer = _beginning(recipe)
    trainer = _trainer(recipe, model, tokenizer, steps, log)
    trainer.train(resume_from_checkpoint=last)
    folder = output / MODEL
    _save(recipe, model, tokenizer, folder)
    shutil.copy(recipe_path, folder / RECIPE)
    shutil.copy(log, folder / LOG)
    if recipe.start:
        _note_start(Path(recipe.start), folder)
    return folder


def _beginning(
    recipe: Recipe,
) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerFast]:
    """The weights and tokenizer before the first step: new ones, or an earlier stage's."""
    if recipe.start:
        loaded = load(resolve(recipe.start), replace(recipe.settings.model, dtype="float32"))
        return loaded.model, loaded.tokenizer
    tokenizer = train_tokenizer(world_texts(recipe.settings.prompt), recipe.model.vocabulary)
    return new_model(recipe.model, tokenizer), tokenizer


def _note_start(start: Path, folder: Path) -> None:
    """Keep beside a later stage's weights which ones it began with, and how those were made."""
    digest = hashlib.sha256((start / WEIGHTS).read_bytes()).hexdigest()
    (folder / "start.json").write_text(json.dumps({"sha256": digest}) + "\n")
    for path in start.iterdir():
        if path.name in (RECIPE, LOG) or path.name.startswith("start"):
            shutil.copy(path, folder / f"start_{path.name}")


def _last_step(steps: Path, resume: bool) -> str | None:
    """What to go on from. A run never mixes with an earlier one by accident."""
    last = get_last_checkpoint(steps) if steps.is_dir() else None
    if resume and not last:
        raise ConfigError(f"nothing to resume in {steps.parent}: leave out --resume to start anew")
    if last and not resume:
        raise ConfigError(
            f"{steps.parent} holds an earlier run: --resume goes on with it, --output writes "
            "elsewhere; or remove the folder"
        )
    return last


def _trainer(
    recipe: Recipe,
    model: Qwen2_5_VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    steps: Path,
    log: Path,
) -> Trainer:
    register()
    model.set_attn_implementation({"vision_config": EQUAL_CHUNKS, "text_config": "sdpa"})
    training = recipe.training
    alike = training.batch_clips
    clips = WorldClips(training.steps * alike, recipe.seed, recipe.clips, recipe.settings, alike)
    optimizer = MuonAndAdamW(
        model.named_parameters(), training.learning_rate, training.weight_decay
    )
    trainer = Trainer(
        model=model,
        args=_arguments(training, recipe.seed, steps),
        train_dataset=clips,
        data_collator=collator_for(model, tokenizer, recipe.settings),
        processing_class=tokenizer,
        callbacks=[Progress(log)],
        optimizers=(optimizer, None),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def collator_for(
    model: Qwen2_5_VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
) -> Collator:
    """The collator that makes batches for a model as the engine would stream it."""
    vision = model.config.vision_config
    spec = VisionSpec.of(vision, settings.model)
    return Collator(Dialogue(tokenizer), settings, spec, float(vision.tokens_per_second))


def _arguments(training: TrainConfig, seed: int, steps: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(steps),
        max_steps=training.steps,
        per_device_train_batch_size=training.batch_clips,
        lr_scheduler_type="cosine",
        warmup_steps=training.warmup_steps,
        save_steps=training.save_every,
        save_total_limit=2,
        logging_steps=training.log_every,
        remove_unused_columns=False,
        # Clips are made at random already; in their order, those of a batch are alike.
        train_sampling_strategy="sequential",
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to=[],
        seed=seed,
    )


def _save(
    recipe: Recipe,
    model: Qwen2_5_VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
) -> None:
    """A complete folder in Hugging Face's format, with the settings it was trained for."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / CHECKPOINT_SETTINGS).write_text(json.dumps(dict(recipe.streaming), indent=2) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 and one line on stderr when a recipe can't be run."""
    parser = argparse.ArgumentParser(prog="python -m training.sft", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a YAML file, such as training/recipes/demo.yaml")
    parser.add_argument("--output", type=Path, help="default: runs/ and the recipe's name")
    parser.add_argument("--resume", action="store_true", help="go on from the last saved step")
    options = parser.parse_args(arguments)
    output = options.output or Path("runs") / options.recipe.stem
    try:
        folder = train(options.recipe, output, options.resume)
    except StreamingVLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"checkpoint in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
