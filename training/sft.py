"""Supervised fine-tuning: `python -m streamingvlm_training.sft RECIPE.yaml [--resume]`.

Trains with full attention on short, overlapping clips (arXiv 2510.09608, section 3.3). A clip is as
long as the window that the engine streams with, and the engine's own code builds its sequence.

Each of these commands trains in 8 processes:

    torchrun --nproc-per-node 8 -m streamingvlm_training.sft RECIPE.yaml
    deepspeed --module streamingvlm_training.sft RECIPE.yaml
    accelerate launch --num_processes 8 -m streamingvlm_training.sft RECIPE.yaml
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import torch

from streamingvlm_ros.atomic_write import DISK_FULL
from streamingvlm_ros.errors import ConfigError, StreamingVLMError
from streamingvlm_ros.rank import process_rank

from .checkpoints import last_complete, translate_write_errors
from .data import check_paths
from .graceful_stop import GracefulStop, StoppedError
from .memory import estimate_memory
from .provenance import LOG, check_start, copy_provenance
from .recipe import read_recipe
from .run_manifest import check_unchanged, copy_start_files, start_override, write_manifest
from .sharding import full_state_dict
from .start import check_not_quantized
from .trainer import STEPS, trainer_for
from .weights import initial_model, save_checkpoint

MODEL = "model"
MANIFEST = "begun"
"""Folder below STEPS with the run's manifest. It is deleted together with the checkpoints."""


def train(
    recipe_path: Path,
    output: Path,
    *,
    resume: bool = False,
    start: str | None = None,
    any_start: bool = False,
    stop: GracefulStop | None = None,
) -> Path:
    """Run a recipe and return the folder of the finished checkpoint, which the engine can load.

    `output` receives `steps/` with checkpoints to resume from, the log and the finished checkpoint.
    `start` replaces the recipe's own; a resumed run keeps the start that it had. With several
    processes each must call it. The first one prints and writes; all return when it has finished.

    Raises:
        ConfigError: The recipe is wrong or not the one that the run started with; `output` holds a
            run and `resume` is false, or it holds none and `resume` is true; `start` was not made
            by the recipe that this one continues, and `any_start` is false; or it is quantized.
        ModelError: There is no room for a checkpoint or the log, or a loss isn't finite.
        OSError: Another file can't be written.
        StoppedError: A signal that `stop` handles ended the run.
    """
    manifest = output / STEPS / MANIFEST
    if resume and start is None:
        start = start_override(manifest)
    recipe = read_recipe(recipe_path, start)
    check_paths(recipe)
    if recipe.start:
        check_not_quantized(recipe.start)
    checkpoint = _checkpoint_to_resume(output / STEPS, resume)
    rank = process_rank()
    if recipe.start and rank.number == 0:
        print(estimate_memory(recipe, rank.count), flush=True)
    # Runs of older versions have no manifest.
    if resume and manifest.exists():
        check_unchanged(recipe, manifest)
    else:
        if not any_start:
            check_start(recipe)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        if rank.number == 0:
            write_manifest(recipe, recipe_path, folder=manifest)
    torch.manual_seed(recipe.seed)
    model, tokenizer = initial_model(recipe)
    trainer = trainer_for(recipe, model, tokenizer=tokenizer, output=output, rank=rank)
    if stop:
        trainer.add_callback(stop)
    trainer.train(resume_from_checkpoint=checkpoint)
    if stop and stop.signal:
        raise StoppedError(f"stopped at step {trainer.state.global_step}; continue with --resume")
    weights = full_state_dict(trainer)
    if rank.number == 0:
        with translate_write_errors(output / MODEL):
            copy_start_files(manifest, output / MODEL)
            save_checkpoint(
                recipe, model, tokenizer=tokenizer, folder=output / MODEL, weights=weights
            )
            copy_provenance(manifest, output / LOG, model=output / MODEL)
    trainer.accelerator.wait_for_everyone()
    return output / MODEL


def _checkpoint_to_resume(steps: Path, resume: bool) -> str | None:
    """Return the last complete checkpoint; None for a new run.

    Raises ConfigError if a new run would mix with an earlier one, or if there is nothing to resume.
    """
    checkpoint, incomplete = last_complete(steps)
    if resume and not checkpoint:
        raise ConfigError(
            f"nothing to resume in {steps.parent}: leave out --resume to start a new run"
        )
    if checkpoint and not resume:
        raise ConfigError(
            f"{steps.parent} holds an earlier run: continue it with --resume, choose another "
            "folder with --output, or remove this one"
        )
    if checkpoint and process_rank().number == 0:
        for path in incomplete:
            print(f"{path.name} is incomplete: continuing from {checkpoint.name}", flush=True)
    return str(checkpoint) if checkpoint else None


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m streamingvlm_training.sft", description=__doc__
    )
    parser.add_argument("recipe", type=Path, help="YAML file, such as training/recipes/demo.yaml")
    parser.add_argument("--output", type=Path, help="default: runs/ and the recipe's file name")
    # torchrun takes --start for an abbreviation of an option of its own: see docs/training.md.
    parser.add_argument(
        "--start-model",
        "--start",
        dest="start",
        metavar="MODEL",
        help="go on from this model instead of the recipe's",
    )
    parser.add_argument(
        "--any-start",
        action="store_true",
        help="accept a start that the previous stage's recipe did not make",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue from the last complete checkpoint"
    )
    # The `deepspeed` launcher passes it to every script, in addition to the environment.
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1, with one line on stderr, if a recipe can't be run.

    Ctrl-C and SIGTERM stop the run after the current step; the exit code is then a shell's for
    that signal.
    """
    # peft uses a name that transformers has deprecated. Users can't do anything about it.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    options = command_parser().parse_args(arguments)
    output = options.output or Path("runs") / options.recipe.stem
    stop = GracefulStop()
    try:
        with stop.handle_signals():
            folder = train(
                options.recipe,
                output,
                resume=options.resume,
                start=options.start,
                any_start=options.any_start,
                stop=stop,
            )
    except StoppedError as stopped:
        print(stopped)
        return 128 + stop.signal
    except StreamingVLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        path = error.filename2 or error.filename
        if path is None and error.errno not in DISK_FULL:
            raise
        print(f"error: {path or output}: {error.strerror}", file=sys.stderr)
        return 1
    if process_rank().number == 0:
        print(f"checkpoint in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
