"""The checkpoint that is shipped, streamed on worlds that it never saw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from streamingvlm_ros.config import DEMO_CHECKPOINT, settings_for
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame

ROUNDS = 600
SIDE_PX = 448


@pytest.fixture(scope="module")
def engine() -> StreamingEngine:
    torch.set_num_threads(1)
    return StreamingEngine.from_pretrained(DEMO_CHECKPOINT, settings_for(DEMO_CHECKPOINT))


def chunk_of(world: World, second: int, round: int) -> Chunk:
    frames = tuple(
        Frame(world.frame(second + part, SIDE_PX, SIDE_PX), int((round + part) * NS_PER_S))
        for part in (0.0, 0.5)
    )
    return Chunk(frames, round * NS_PER_S, (round + 1) * NS_PER_S)


@pytest.mark.slow
def test_an_unseen_world_is_described_exactly_and_no_worse_after_600_rounds(
    engine: StreamingEngine,
) -> None:
    stream, world = engine.open_stream(), World(FIRST_UNSEEN_SEED + 77)
    right = [stream.step(chunk_of(world, n, n)).text == world.caption(n) for n in range(ROUNDS)]
    assert sum(right) >= 0.95 * ROUNDS
    assert sum(right[-100:]) >= sum(right[:100]) - 2


def test_a_narrator_may_begin_in_the_middle_of_a_world(engine: StreamingEngine) -> None:
    stream, world = engine.open_stream(), World(FIRST_UNSEEN_SEED + 5)
    # Whether a thing stops or rests can't be known in the first round.
    right = [
        stream.step(chunk_of(world, 333 + n, n)).text == world.caption(333 + n) for n in range(30)
    ]
    assert sum(right[1:]) >= 27


def test_it_says_what_is_on_the_table_when_asked(engine: StreamingEngine) -> None:
    stream, world = engine.open_stream(), World(FIRST_UNSEEN_SEED + 9)
    right = 0
    for n in range(30):
        stream.step(chunk_of(world, n, n))
        things = [f"a {thing.name}" for thing in world.second(n).things]
        truth = " and ".join(things) or "nothing"
        right += stream.ask("What is on the table?").text == f"{truth.capitalize()}."
    assert right >= 25


def test_it_is_small_and_complete() -> None:
    files = {path.name: path.stat().st_size for path in DEMO_CHECKPOINT.iterdir()}
    assert sum(files.values()) <= 8_000_000
    assert {"config.json", "model.safetensors", "tokenizer.json", "streaming.json"} <= set(files)
    assert {"recipe.yaml", "training.jsonl"} <= set(files)


def test_it_was_made_by_the_recipes_that_are_there() -> None:
    recipes = Path(__file__).parents[2] / "training" / "recipes"
    for stage, recipe in (("start_", "demo.yaml"), ("", "demo_window.yaml")):
        made_by = (DEMO_CHECKPOINT / f"{stage}recipe.yaml").read_text()
        assert made_by == (recipes / recipe).read_text()
    first, last = (_losses(f"{stage}training.jsonl") for stage in ("start_", ""))
    assert max(first[-1], last[-1]) < 0.01 * first[0]


def _losses(log: str) -> list[float]:
    lines = (DEMO_CHECKPOINT / log).read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]
