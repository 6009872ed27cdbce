"""The paper's findings on what a stream keeps, reproduced with the shipped model.

    OMP_NUM_THREADS=1 python perf/findings.py runs/findings     # 5 worlds of 1,000 rounds
    OMP_NUM_THREADS=1 python perf/findings.py runs/hours --only "positions grow" --rounds 7200

Every variant of keeping the past watches the same unseen worlds (arXiv 2510.09608, section 4.4) in
parallel, and is asked questions at intervals. A world's results are stored in RUN, so that a
stopped run can be resumed; the table is printed in Markdown. The overlap of clips is the subject of
perf/overlap.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from asking import PAST_S
from endurance import chunk
from other_streams import GlancingEngine, GrowingEngine, GrowingStream, RecomputingEngine

from streamingvlm_ros.atomic_write import write_text
from streamingvlm_ros.config import DEMO_CHECKPOINT, settings_for
from streamingvlm_ros.demo.questions import QuestionAnswer, about_now, about_past
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import load
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.types import Chunk

OWN = "as it is: rolling, contiguous"
BLOCK = 50
"""Rounds that are drawn together for intervals, because neighbouring rounds are alike."""
ASKED_EVERY = 10
DRAWS = 2000


@dataclass(frozen=True)
class Way:
    """A variant of keeping the past: an engine and its settings."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    engine: type[StreamingEngine] = StreamingEngine


WAYS = {
    OWN: Way(),
    "positions grow": Way(engine=GrowingEngine),
    "vision window 0 s": Way({"vision_rounds": 1}, GlancingEngine),
    "vision window 1 s": Way({"vision_rounds": 1}),
    "vision window 4 s": Way({"vision_rounds": 4}),
    "vision window 16 s": Way({"vision_rounds": 16}),
    "vision window 32 s": Way({"vision_rounds": 32}),
    "no text sink": Way({"text_sink": 0}),
    "no carried text at all": Way({"text_sink": 0, "text_window": 1}),
    "all text is kept": Way({"text_window": 8192}),
    "sliding, recomputed": Way(engine=RecomputingEngine),
}


class Watcher:
    """One stream in one world: its narrations and answers, their accuracy and times."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._asks = not isinstance(stream, GrowingStream)
        self.right: list[bool] = []
        self.now: list[bool] = []
        self.past: list[bool] = []
        self.round_ms: list[float] = []

    def watch(self, seen: Chunk, truth: str) -> None:
        """One round."""
        begin = time.process_time()
        narration = self._stream.step(seen).text
        self.round_ms.append((time.process_time() - begin) * 1e3)
        self.right.append(narration == truth)

    def ask(self, now: QuestionAnswer, past: QuestionAnswer | None) -> None:
        """Ask about what is visible and, if there is a question, about the past."""
        if self._asks:
            self.now.append(self._stream.ask(now.question).text == now.answer)
            if past:
                self.past.append(self._stream.ask(past.question).text == past.answer)

    def close(self) -> None:
        """Make room for the stream of another world."""
        self._stream.close()


def watch_world(
    engines: Mapping[str, StreamingEngine], seed: int, *, rounds: int
) -> dict[str, Any]:
    """Return every variant's results in one world."""
    world, random = World(seed), np.random.default_rng(seed)
    watchers = {name: Watcher(engine.open_stream()) for name, engine in engines.items()}
    for number in range(rounds):
        seen, truth = chunk(world, number), world.caption(number)
        for watcher in watchers.values():
            watcher.watch(seen, truth)
        if number >= PAST_S and number % ASKED_EVERY == 0:
            past_seconds = [world.second(n) for n in range(number - PAST_S + 1, number + 1)]
            asked = about_now(past_seconds[-1], random), about_past(past_seconds, random)
            for watcher in watchers.values():
                watcher.ask(*asked)
        if (number + 1) % 100 == 0:
            print(f"world {seed}: {number + 1} of {rounds} rounds", file=sys.stderr)
    for watcher in watchers.values():
        watcher.close()
    return {
        name: {key: value for key, value in vars(watcher).items() if isinstance(value, list)}
        for name, watcher in watchers.items()
    }


def table(worlds: list[dict[str, Any]]) -> str:
    """Format a Markdown table: accuracy, and differences from the engine's own variant."""
    lines = [
        "| way | narration | difference (95 %) | last hundred rounds | asked of now | of the past "
        "| time of a round |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in worlds[0]:
        results = [world[name] for world in worlds]
        right = np.array([one["right"] for one in results], float)
        own = np.array([world[OWN]["right"] for world in worlds], float)
        late_ms = [statistics.median(one["round_ms"][-100:]) for one in results]
        own_ms = [statistics.median(world[OWN]["round_ms"][-100:]) for world in worlds]
        cells = [
            name,
            f"{right.mean():.1%}",
            "" if name == OWN else difference(right - own),
            f"{right[:, -100:].mean():.1%}",
            *(_share([x for one in results for x in one[kind]]) for kind in ("now", "past")),
            f"{statistics.mean(late_ms) / statistics.mean(own_ms):.2f} x",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def difference(rights: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """Format a difference in points, with the interval of a paired bootstrap over blocks."""
    whole = rights.shape[1] // BLOCK * BLOCK
    blocks = rights[:, :whole].reshape(-1, BLOCK).mean(1) * 100
    draws = np.random.default_rng(0).integers(len(blocks), size=(DRAWS, len(blocks)))
    low, high = np.quantile(blocks[draws].mean(1), [0.025, 0.975])
    return f"{blocks.mean():+.1f} ({low:+.1f} to {high:+.1f})"


def _share(right: list[bool]) -> str:
    return f"{np.mean(right):.1%} of {len(right)}" if right else "not asked"


def main() -> None:
    """Watch and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--only", action="append", choices=WAYS, help="beside the engine's own")
    arguments = parser.parse_args()
    ways = {OWN: WAYS[OWN], **{name: WAYS[name] for name in arguments.only or WAYS}}
    settings = settings_for(DEMO_CHECKPOINT)
    loaded = load(DEMO_CHECKPOINT, settings.model)
    engines = {
        name: way.engine(loaded, settings.updated(way.settings)) for name, way in ways.items()
    }
    arguments.run.mkdir(parents=True, exist_ok=True)
    worlds = []
    for seed in range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + arguments.worlds):
        path = arguments.run / f"world_{seed}_{arguments.rounds}.json"
        result = json.loads(path.read_text()) if path.exists() else {}
        if not result.keys() >= ways.keys():
            result |= watch_world(engines, seed, rounds=arguments.rounds)
            write_text(path, json.dumps(result))
        worlds.append({name: result[name] for name in ways})
    print(table(worlds))


if __name__ == "__main__":
    main()
