"""The closed loop: a robot learns things that it saw for the first time and forgets no others.

python perf/loop.py runs/loop

Films worlds of things that the shipped model never saw, and of those it knows, into RUN/bags (which
may hold other bags already), exports them to RUN/data, adapts the model by
training/recipes/new_things.yaml, and evaluates old and new model on unseen worlds of both kinds.
Prints a JSON line: the share of narrations that are right word by word. A stopped run is resumed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from hour import TRUTH, film

from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World

START_NOTE = "start.json"
"""File that training writes last, next to the weights."""
RECIPE = Path(__file__).parents[1] / "training" / "recipes" / "new_things.yaml"
NEW_BAGS, OLD_BAGS = 7, 4
"""Bags of five minutes each. Without known things in the data, the model would forget them."""
BAG_S, UNSEEN_S = 300, 600
FIRST_SEED = 5_000
"""First seed of the worlds in the training data."""


def make_bags(run: Path) -> None:
    """Film the worlds for training, and those for evaluation."""
    worlds = {f"bags/new{n}": (FIRST_SEED + n, True, BAG_S) for n in range(NEW_BAGS)}
    worlds |= {f"bags/old{n}": (FIRST_SEED + 50 + n, False, BAG_S) for n in range(OLD_BAGS)}
    worlds |= {"unseen/new": (FIRST_UNSEEN_SEED + 7, True, UNSEEN_S)}
    worlds |= {"unseen/old": (FIRST_UNSEEN_SEED + 8, False, UNSEEN_S)}
    for name, (seed, new, seconds) in worlds.items():
        if not (run / name).exists():
            film(run / name, World(seed, new), seconds=seconds)


def adapt(run: Path, recipe: Path, *, output: str) -> Path:
    """Train by a recipe into RUN/OUTPUT, or resume a stopped run; return the checkpoint."""
    model = run / output / "model"
    if not (model / START_NOTE).exists():
        whole = (run / output / "steps").glob("checkpoint-*/trainer_state.json")
        resumed = ["--resume"] if any(whole) else []
        command(run, "streamingvlm_training.sft", recipe, "--output", output, *resumed)
    return model


def command(run: Path, *words: object) -> None:
    """Run one step of the loop in the run's folder; show its output, and raise on failure."""
    subprocess.run([sys.executable, "-m", *map(str, words)], cwd=run, check=True, stdout=sys.stderr)


def scores(run: Path) -> dict[str, dict[str, float]]:
    """Return the share of exact narrations, by model and world."""
    by_model: dict[str, dict[str, float]] = {}
    for file in (run / "scores" / "results").glob("*.json"):
        result = json.loads(file.read_text())
        by_world = by_model.setdefault(result["request"]["model"], {})
        by_world[result["request"]["item"]] = round(result["narration"]["exact"], 4)
    return by_model


def main() -> None:
    """Film, export, adapt, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run.absolute()
    make_bags(run)
    cli = "streamingvlm_ros.cli"
    clips = ("--model", "demo", "--clip", 9, "--overlap", 4, "--validation", 6)
    command(run, cli, "export", "bags", "--output", "data", *clips)
    command(run, "streamingvlm_training.prepare", RECIPE)
    adapt(run, RECIPE, output="adapted")
    models = ("--model", "demo", "--model", "adapted/model", "--reference", TRUTH.name)
    command(run, cli, "evaluate", "unseen", "--output", "scores", *models)
    print(json.dumps(scores(run)))


if __name__ == "__main__":
    main()
