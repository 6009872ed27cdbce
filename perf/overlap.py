"""Overlapping training clips compared with disjoint ones, for the same number of steps.

OMP_NUM_THREADS=1 python perf/overlap.py runs/overlap

For each seed: worlds of things that the shipped model never saw and of known ones are filmed into
RUN/SEED/bags and exported twice, in clips of 9 s that share 4 s (arXiv 2510.09608, section 3.3) or
none; the model is adapted with each, and narrates worlds that no run was trained on. Prints a table
in Markdown. A stopped run is resumed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from endurance import chunk
from findings import difference
from hour import film
from loop import RECIPE, adapt, command

from streamingvlm_ros.atomic_write import write_text
from streamingvlm_ros.config import settings_for
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.engine.engine import StreamingEngine

OVERLAPS_S = (4, 0)
CLIP_S = 9
STEPS = 120
BAGS = {"new0": True, "new1": True, "old0": False}
"""Bags of three minutes each; True for those with new things."""
BAG_S, UNSEEN_S = 180, 600
FIRST_SEED = 6_000


def adapted(run: Path, seed: int, *, overlap_s: int) -> Path:
    """Return the checkpoint that was trained with clips of this overlap."""
    name = f"overlap{overlap_s}"
    content = yaml.safe_load(RECIPE.read_text())
    content |= {"seed": seed, "data": {"train": [f"{name}/train.jsonl"]}}
    content["training"] |= {"steps": STEPS}
    recipe = run / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump(content))
    clips = ("--clip", CLIP_S, "--overlap", overlap_s, "--validation", 0, "--model", "demo")
    command(run, "streamingvlm_ros.cli", "export", "bags", "--output", name, *clips)
    return adapt(run, recipe, output=f"adapted{overlap_s}")


def right(model: Path, world: World) -> list[bool]:
    """Return, for each second of an unseen world, True if its narration is exact."""
    stream = StreamingEngine.from_pretrained(model, settings_for(model)).open_stream()
    return [
        stream.step(chunk(world, second)).text == world.caption(second)
        for second in range(UNSEEN_S)
    ]


def results(run: Path, seed: int) -> dict[str, list[bool]]:
    """Return `right` by kind of world and overlap."""
    for number, (name, new) in enumerate(BAGS.items()):
        if not (run / "bags" / name).exists():
            film(run / "bags" / name, World(FIRST_SEED + 10 * seed + number, new), seconds=BAG_S)
    results_by_name = {}
    for overlap_s in OVERLAPS_S:
        model = adapted(run, seed, overlap_s=overlap_s)
        for kind, new in (("new", True), ("known", False)):
            world = World(FIRST_UNSEEN_SEED + 100 + seed, new)
            results_by_name[f"{kind}, {overlap_s} s"] = right(model, world)
    return results_by_name


def table(seeds: list[dict[str, list[bool]]]) -> str:
    """Format a Markdown table: accuracy after training with each, and the difference."""
    lines = [
        "| things | overlapping | disjoint | difference (95 %) | by seed |",
        "| --- " * 5 + "|",
    ]
    for kind in ("new", "known"):
        with_s, without_s = (
            np.array([seed_results[f"{kind}, {overlap_s} s"] for seed_results in seeds], float)
            for overlap_s in OVERLAPS_S
        )
        pairs = zip(with_s.mean(1), without_s.mean(1), strict=True)
        lines.append(
            f"| {kind} | {with_s.mean():.1%} | {without_s.mean():.1%} "
            f"| {difference(with_s - without_s)} "
            f"| {', '.join(f'{a:.1%} and {b:.1%}' for a, b in pairs)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Film, export, adapt, narrate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    all_results: list[dict[str, Any]] = []
    for seed in range(arguments.seeds):
        run = arguments.run.absolute() / str(seed)
        path = run / "right.json"
        if not path.exists():
            write_text(path, json.dumps(results(run, seed)))
        all_results.append(json.loads(path.read_text()))
        print(table(all_results), file=sys.stderr)
    print(table(all_results))


if __name__ == "__main__":
    main()
