"""Supervised fine-tuning: `python -m streamingvlm_training.sft RECIPE.yaml [--resume]`.

Full attention on short, overlapping clips (arXiv 2510.09608, section 3.3): a clip is as long as
the window that the engine streams with, and its sequence is made by the engine's own code.

Each of these trains in 8 processes:

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

from .checkpoints import last_whole, writing
from .data import check_paths
from .graceful_stop import StoppedError, Stopping
from .memory import estimate
from .provenance import LOG, check_start, copy_provenance
from .recipe import Recipe, read_recipe
from .run_manifest import check_unchanged, start_override, write_manifest
from .sharding import whole_weights
from .trainer import STEPS, trainer_for
from .weights import beginning, save

MODEL = "model"
BEGUN = "begun"
"""Folder below STEPS of what a run began with; it goes with its states."""


def train(
    recipe_path: Path,
    output: Path,
    resume: bool = False,
    start: str | None = None,
    any_start: bool = False,
    stop: Stopping | None = None,
) -> Path:
    """Run a recipe; the finished checkpoint's folder, complete for the engine.

    `start` goes before the recipe's; a run that is resumed keeps the one that it was begun with. In
    `output`: `steps/` to resume from, the log, and the checkpoint. ConfigError if the recipe is
    wrong or not the one that the run was begun with, `output` is not as `resume` expects it, or
    without `any_start` if `start` was not made by the recipe that this one comes after; ModelError
    if there is no room for a state, the log or the checkpoint, OSError if anything else can't be
    written. StoppedError if it was ended by `stop`. Of several processes each must call it; the
    first one tells and writes, and all return when it has.
    """
    begun = output / STEPS / BEGUN
    if resume and start is None:
        start = start_override(begun)
    recipe = read_recipe(recipe_path, start)
    check_paths(recipe)
    last = _last_step(output / STEPS, resume)
    rank = process_rank()
    if recipe.start and rank.number == 0:
        print(estimate(recipe, rank.count), flush=True)
    _begin(recipe, recipe_path, begun, resume, any_start)
    torch.manual_seed(recipe.seed)
    model, tokenizer = beginning(recipe)
    trainer = trainer_for(recipe, model, tokenizer, output, rank)
    if stop:
        trainer.add_callback(stop)
    trainer.train(resume_from_checkpoint=last)
    if stop and stop.signal:
        raise StoppedError(f"stopped at step {trainer.state.global_step}: --resume goes on")
    weights = whole_weights(trainer)
    if rank.number == 0:
        with writing(output / MODEL):
            save(recipe, model, tokenizer, output / MODEL, weights)
            copy_provenance(begun, output / LOG, output / MODEL)
    trainer.accelerator.wait_for_everyone()
    return output / MODEL


def _begin(recipe: Recipe, path: Path, begun: Path, resume: bool, any_start: bool) -> None:
    """Keep what a run begins with, or see that it is what this one began with."""
    # Runs that older versions began kept nothing.
    compared = resume and begun.exists()
    if compared:
        check_unchanged(recipe, begun)
    elif not any_start:
        check_start(recipe)
    begun.parent.mkdir(parents=True, exist_ok=True)
    if process_rank().number == 0 and not compared:
        write_manifest(recipe, path, begun)


def _last_step(steps: Path, resume: bool) -> str | None:
    """What to go on from. A run never mixes with an earlier one by accident."""
    last, broken = last_whole(steps)
    if resume and not last:
        raise ConfigError(f"nothing to resume in {steps.parent}: leave out --resume to start anew")
    if last and not resume:
        raise ConfigError(
            f"{steps.parent} holds an earlier run: --resume goes on with it, --output writes "
            "elsewhere; or remove the folder"
        )
    if last and process_rank().number == 0:
        for its in broken:
            print(f"{its.name} wasn't written to its end: going on from {last.name}", flush=True)
    return str(last) if last else None


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 and one line on stderr when a recipe can't be run.

    Ctrl-C and SIGTERM stop it after the current step, with the code that a shell gives them.
    """
    # peft asks transformers by a name that is going away: nothing that a user can mend.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    parser = argparse.ArgumentParser(
        prog="python -m streamingvlm_training.sft", description=__doc__
    )
    parser.add_argument("recipe", type=Path, help="a YAML file, such as training/recipes/demo.yaml")
    parser.add_argument("--output", type=Path, help="default: runs/ and the recipe's name")
    parser.add_argument("--start", help="go on from this model instead of the recipe's")
    parser.add_argument(
        "--any-start", action="store_true", help="even if the recipe before did not make it"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last saved step")
    # The `deepspeed` launcher says it to every script, beside the environment.
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    output = options.output or Path("runs") / options.recipe.stem
    stop = Stopping()
    try:
        with stop.heeding():
            folder = train(
                options.recipe, output, options.resume, options.start, options.any_start, stop
            )
    except StoppedError as stopped:
        print(stopped)
        return 128 + stop.signal
    except StreamingVLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        file = error.filename2 or error.filename
        if file is None and error.errno not in DISK_FULL:
            raise
        print(f"error: {file or output}: {error.strerror}", file=sys.stderr)
        return 1
    if process_rank().number == 0:
        print(f"checkpoint in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
