"""The shipped model on unseen worlds: accuracy, time per round and memory over a stream.

    python perf/endurance.py                   # 3 worlds of 600 rounds
    python perf/endurance.py --rounds 3600     # an hour of stream

Prints a line per hundred rounds, then one JSON line per world and one for all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from streamingvlm_ros.config import DEMO_CHECKPOINT, settings_for
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame

SIDE_PX = 448
BIN = 100


def chunk(world: World, second: int) -> Chunk:
    """Return a second of a camera at 2 frames per second."""
    start = second * NS_PER_S
    frames = tuple(
        Frame(world.frame(second + part, SIDE_PX, SIDE_PX), start + int(part * NS_PER_S))
        for part in (0.0, 0.5)
    )
    return Chunk(frames, start, start + NS_PER_S)


def resident_mb() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def watch(engine: StreamingEngine, seed: int, *, rounds: int) -> dict[str, Any]:
    """Stream one world; figures per hundred rounds go to stderr."""
    world, stream = World(seed), engine.open_stream()
    right: list[bool] = []
    round_ms: list[float] = []
    memory_mb: list[float] = []
    for second in range(rounds):
        seen = chunk(world, second)
        begin = time.perf_counter()
        narration = stream.step(seen)
        round_ms.append((time.perf_counter() - begin) * 1e3)
        right.append(narration.text == world.caption(second))
        if (second + 1) % BIN == 0:
            memory_mb.append(resident_mb())
            newest = slice(second + 1 - BIN, second + 1)
            print(
                f"seed {seed} rounds {second + 1 - BIN}-{second}: "
                f"right {np.mean(right[newest]):.3f}, "
                f"round {statistics.median(round_ms[newest]):.1f} ms, "
                f"resident {memory_mb[-1]:.0f} MB, cached {stream.cached_tokens} tokens",
                file=sys.stderr,
            )
    stream.close()
    return {
        "seed": seed,
        "rounds": rounds,
        "accuracy": round(float(np.mean(right)), 4),
        "accuracy_first_100": round(float(np.mean(right[:BIN])), 4),
        "accuracy_last_100": round(float(np.mean(right[-BIN:])), 4),
        "round_p50_ms": round(statistics.median(round_ms), 1),
        "round_p95_ms": round(float(np.percentile(round_ms, 95)), 1),
        "round_last_over_second_hundred": round(
            statistics.median(round_ms[-BIN:]) / statistics.median(round_ms[BIN : 2 * BIN]), 3
        ),
        "resident_growth_mb": round(memory_mb[-1] - memory_mb[1], 1),
        "cache_mb": round(engine.cache_bytes / 1e6, 2),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=600)
    parser.add_argument("--worlds", type=int, default=3)
    parser.add_argument("--model", type=Path, default=DEMO_CHECKPOINT)
    arguments = parser.parse_args()
    if arguments.rounds < 3 * BIN:
        parser.error(f"--rounds must be at least {3 * BIN}: windows fill within the first {BIN}")
    engine = StreamingEngine.from_pretrained(arguments.model, settings_for(arguments.model))
    results = []
    for seed in range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + arguments.worlds):
        results.append(watch(engine, seed, rounds=arguments.rounds))
        print(json.dumps(results[-1]))
    summary = {
        key: round(statistics.mean(result[key] for result in results), 4)
        for key in ("accuracy", "accuracy_first_100", "accuracy_last_100", "round_p50_ms")
    }
    print(json.dumps({"worlds": arguments.worlds, "rounds": arguments.rounds, **summary}))


if __name__ == "__main__":
    main()
