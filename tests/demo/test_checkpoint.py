"""The shipped checkpoint on worlds that it was never trained on."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from streamingvlm_ros.config import DEMO_CHECKPOINT, settings_for
from streamingvlm_ros.demo.questions import MOMENTS, NOW, PAST, about_moments
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame, HistoryMoment, Question

ROUNDS = 600
SIDE_PX = 448


@pytest.fixture(scope="module")
def engine() -> StreamingEngine:
    torch.set_num_threads(1)
    return StreamingEngine.from_pretrained(DEMO_CHECKPOINT, settings_for(DEMO_CHECKPOINT))


@pytest.fixture
def stream(engine: StreamingEngine) -> Iterator[Stream]:
    with engine.open_stream() as stream:
        yield stream


def chunk_of(world: World, second: int, *, round: int) -> Chunk:
    frames = tuple(
        Frame(world.frame(second + part, SIDE_PX, SIDE_PX), int((round + part) * NS_PER_S))
        for part in (0.0, 0.5)
    )
    return Chunk(frames, round * NS_PER_S, (round + 1) * NS_PER_S)


@pytest.mark.slow
def test_an_unseen_world_is_described_exactly_and_no_worse_after_600_rounds(
    stream: Stream,
) -> None:
    world = World(FIRST_UNSEEN_SEED + 77)
    right = [
        stream.step(chunk_of(world, n, round=n)).text == world.caption(n) for n in range(ROUNDS)
    ]
    assert sum(right) >= 0.95 * ROUNDS
    assert sum(right[-100:]) >= sum(right[:100]) - 2


def test_narration_may_start_in_the_middle_of_a_world(stream: Stream) -> None:
    world = World(FIRST_UNSEEN_SEED + 5)
    # In the first round it can't know whether a thing stops or rests.
    right = [
        stream.step(chunk_of(world, 333 + n, round=n)).text == world.caption(333 + n)
        for n in range(30)
    ]
    assert sum(right[1:]) >= 27


def test_questions_about_now_and_the_last_seconds_are_answered_from_the_frames(
    stream: Stream,
) -> None:
    world = World(FIRST_UNSEEN_SEED + 9)
    right = answers_right(stream, world, second_of_frames=lambda number: number)
    assert np.mean(right["now"]) >= 0.95
    assert np.mean(right["recent"]) >= 0.95
    assert np.mean(right["past"]) >= 0.9
    # With frames of other times the same questions must not be answerable.
    shuffled = np.random.default_rng(0).permutation(ROUNDS)
    blind = answers_right(stream, world, second_of_frames=lambda number: int(shuffled[number]))
    assert max(map(np.mean, blind.values())) <= 0.4


def answers_right(
    stream: Stream, world: World, *, second_of_frames: Callable[[int], int]
) -> dict[str, list[bool]]:
    """Ask every kind of question every third second.

    `second_of_frames` maps a round to the second that its frames show.
    """
    stream.reset()
    random = np.random.default_rng(0)
    right: dict[str, list[bool]] = {"now": [], "recent": [], "past": []}
    newest: deque[Frame] = deque(maxlen=stream.settings.asking.recent_frames)
    for n in range(60):
        chunk = chunk_of(world, second_of_frames(n), round=n)
        newest.extend(chunk.frames)
        stream.step(chunk)
        if n < 12 or n % 3:
            continue
        past_seconds = [world.second(second) for second in range(n - 10, n + 1)]
        for make in NOW.values():
            now = make(past_seconds[-1], random)
            right["now"].append(stream.ask(now.question).text == now.answer)
            recent = stream.ask(Question(now.question, frames=tuple(newest)))
            right["recent"].append(recent.text == now.answer)
        past = [item for make in PAST.values() if (item := make(past_seconds, random))]
        right["past"] += [stream.ask(item.question).text == item.answer for item in past]
    return right


def test_questions_about_moments_long_ago_are_answered_from_their_frames(
    stream: Stream,
) -> None:
    random, right = np.random.default_rng(0), []
    stream.step(chunk_of(World(FIRST_UNSEEN_SEED + 1), 0, round=0))
    for seed in range(20):
        world, number = World(FIRST_UNSEEN_SEED + 20 + seed), int(random.integers(5, 300))
        seconds = [world.second(n) for n in (number, number + 1)]
        moments = tuple(
            HistoryMoment(
                chunk_of(world, n, round=n).frames[-1], n * NS_PER_S, (n + 1) * NS_PER_S, caption
            )
            for n, caption in ((n, world.caption(n)) for n in (number, number + 1))
        )
        for thing in seconds[-1].things:
            shapes = [a.thing.shape for second in seconds for a in second.acts if a.thing != thing]
            items = [about_moments(seconds, thing, kind=kind) for kind in MOMENTS]
            for item in items if thing.shape not in shapes else ():
                if item:
                    answer = stream.ask(Question(item.question, moments=moments))
                    right.append(answer.text == item.answer)
    assert len(right) >= 30
    assert np.mean(right) >= 0.8


def test_the_checkpoint_is_small_and_complete() -> None:
    files = {path.name: path.stat().st_size for path in DEMO_CHECKPOINT.iterdir()}
    assert sum(files.values()) <= 8_000_000
    assert {"config.json", "model.safetensors", "tokenizer.json", "streaming.json"} <= set(files)
    assert {"recipe.yaml", "training.jsonl"} <= set(files)


def test_it_was_made_by_the_four_shipped_recipes() -> None:
    recipes = Path(__file__).parents[2] / "training" / "recipes"
    stages = {
        "demo": DEMO_CHECKPOINT / "provenance" / "1_demo",
        "demo_window": DEMO_CHECKPOINT / "provenance" / "2_demo_window",
        "demo_colours": DEMO_CHECKPOINT / "provenance" / "3_demo_colours",
        "demo_asking": DEMO_CHECKPOINT,
    }
    for name, folder in stages.items():
        assert (folder / "recipe.yaml").read_text() == (recipes / f"{name}.yaml").read_text()
        assert (folder / "start.json").exists() == (name != "demo")
    first, last = (_losses(stages[name] / "training.jsonl") for name in ("demo", "demo_asking"))
    assert last[-1] < 0.02 * first[0]


def _losses(log: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in log.read_text().splitlines()]
