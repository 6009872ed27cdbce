"""The synthetic world: reproducible, described as it looks, and endless."""

from __future__ import annotations

import itertools
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamingvlm_ros.demo.acts import COLOURS, RADIUS, REACH, SHAPES, Act, Verb
from streamingvlm_ros.demo.drawing import RGB, draw
from streamingvlm_ros.demo.story import BLOCK_S
from streamingvlm_ros.demo.world import World
from streamingvlm_ros.types import Image

SIDE = 112
seeds = st.integers(0, 100_000)
seconds = st.integers(0, 20_000)


def looks_empty(image: Image) -> bool:
    """True if nothing is on the cloth, not even a shadow."""
    return bool((image == draw([], SIDE, width_px=SIDE)).all())


def pixels_of(colour: str, image: Image) -> int:
    return int((np.abs(image.astype(int) - RGB[colour]).max(axis=2) < 40).sum())


def both_frames(world: World, second: int) -> list[Image]:
    return [world.frame(second + part, SIDE, SIDE) for part in (0.0, 0.5)]


@given(seeds, seconds)
@settings(max_examples=50, deadline=None)
def test_seed_and_time_determine_image_and_caption_in_any_order(seed: int, second: int) -> None:
    world, other = World(seed), World(seed)
    other.frame(second + 200, SIDE, SIDE)
    assert world.caption(second) == other.caption(second)
    assert (world.frame(second + 0.5, SIDE, SIDE) == other.frame(second + 0.5, SIDE, SIDE)).all()


def test_different_seeds_give_different_stories() -> None:
    stories = {tuple(map(World(seed).caption, range(BLOCK_S))) for seed in range(200)}
    assert len(stories) == 200


@given(seeds, seconds)
@settings(max_examples=200, deadline=None)
def test_a_caption_is_empty_exactly_when_the_images_show_an_empty_table(
    seed: int, second: int
) -> None:
    world = World(seed)
    empty = all(map(looks_empty, both_frames(world, second)))
    assert (world.caption(second) == "") == empty


@given(seeds, seconds)
@settings(max_examples=200, deadline=None)
def test_the_images_show_exactly_the_things_in_the_caption(seed: int, second: int) -> None:
    world = World(seed)
    caption, frames = world.caption(second), both_frames(world, second)
    for colour in COLOURS:
        visible = max(pixels_of(colour, frame) for frame in frames)
        assert (visible > 60) == (colour in caption), (colour, visible, caption)


@cache
def acts(verb: Verb) -> list[Act]:
    every = (act for seed in range(40) for n in range(60) for act in World(seed).second(n).acts)
    return [act for act in every if act.verb is verb]


@pytest.mark.parametrize("verb", list(Verb))
def test_every_verb_occurs(verb: Verb) -> None:
    assert len(acts(verb)) > 20


def test_captions_name_the_direction_of_motion_between_the_two_frames() -> None:
    steps = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
    for act in acts(Verb.MOVES):
        (x0, y0), (x1, y1) = act.position(0.0), act.position(0.5)
        assert (x1 - x0, y1 - y0) == pytest.approx([0.15 * step for step in steps[act.where]])
    for act in acts(Verb.STOPS) + acts(Verb.RESTS):
        assert act.position(0.0) == act.position(0.5) == act.position(1.0)


def test_a_thing_stops_after_motion_and_then_rests() -> None:
    for seed in range(40):
        previous: dict[str, Verb] = {}
        for number in range(90):
            now = {act.thing.name: act.verb for act in World(seed).second(number).acts}
            for name, verb in now.items():
                if verb is Verb.STOPS:
                    assert previous[name] in (Verb.ENTERS, Verb.MOVES, Verb.HITS)
                if verb is Verb.RESTS and Verb.HITS not in now.values():
                    assert previous[name] in (Verb.STOPS, Verb.RESTS)
            previous = now


def test_a_thing_continues_from_its_last_position() -> None:
    for seed in range(40):
        world = World(seed)
        for number in range(90):
            ends = {act.thing: act.position(1.0) for act in world.second(number).acts}
            for act in world.second(number + 1).acts:
                if act.verb is not Verb.ENTERS:
                    assert act.position(0.0) == pytest.approx(ends[act.thing])


@pytest.mark.parametrize("verb", list(Verb))
def test_things_move_continuously(verb: Verb) -> None:
    for act in acts(verb):
        path = [act.position(float(t)) for t in np.linspace(0, 1, 11)]
        assert max(np.abs(np.subtract(a, b)).max() for a, b in itertools.pairwise(path)) < 0.1


def test_two_things_touch_only_halfway_through_a_hit() -> None:
    hits = 0
    for seed, number in itertools.product(range(25), range(90)):
        second = World(seed).second(number)
        if len(second.acts) < 2:
            continue
        one, two = second.acts
        reach = RADIUS * (REACH[one.thing.shape] + REACH[two.thing.shape])
        gaps = [np.subtract(one.position(t), two.position(t)) for t in np.linspace(0, 1, 11)]
        distances = [float(np.abs(gap).max()) for gap in gaps]
        if any(act.verb is Verb.HITS for act in second.acts):
            hits += 1
            assert min(distances) == pytest.approx(distances[5]) == pytest.approx(reach)
        else:
            assert min(float(np.hypot(*gap)) for gap in gaps) > 2 * RADIUS
    assert hits > 15


def test_at_most_two_things_of_different_colours_are_on_the_table() -> None:
    for seed, number in itertools.product(range(20), range(90)):
        colours = [act.thing.colour for act in World(seed).second(number).acts]
        assert len(colours) <= 2
        assert len(set(colours)) == len(colours)
        assert colours == sorted(colours, key=COLOURS.index)


def test_captions_rarely_repeat_and_cover_every_thing() -> None:
    captions = [World(seed).caption(n) for seed in range(20) for n in range(90)]
    repeated = sum(a == b for a, b in itertools.pairwise(captions))
    assert repeated < 0.15 * len(captions)
    named = {(c, s) for c in COLOURS for s in SHAPES if any(f"{c} {s}" in x for x in captions)}
    assert len(named) == len(COLOURS) * len(SHAPES)


@pytest.mark.parametrize("height", [56, 112])
def test_a_small_image_looks_like_a_large_one_scaled_down(height: int) -> None:
    for number in range(30):
        large = World(3).frame(number + 0.5, 4 * height, 4 * height).astype(float)
        scaled = large.reshape(height, 4, height, 4, 3).mean(axis=(1, 3))
        small = World(3).frame(number + 0.5, height, height)
        assert np.abs(scaled - small).mean() < 1.0


def test_images_have_the_requested_size() -> None:
    image = World(0).frame(3.25, 120, 200)
    assert image.shape == (120, 200, 3)
    assert image.dtype == np.uint8


def test_the_world_continues_for_hours() -> None:
    assert any(World(5).caption(n) for n in range(100_000, 100_010))


@pytest.mark.parametrize("call", [lambda: World(-1), lambda: World(0).caption(-1)])
def test_a_negative_seed_or_time_is_rejected(call: object) -> None:
    with pytest.raises(ValueError, match="0"):
        call()  # type: ignore[operator]


def test_the_world_needs_neither_torch_nor_ros() -> None:
    code = (
        "import sys; from streamingvlm_ros.demo.world import World; World(0).frame(1.0, 56, 56); "
        "assert not {'torch', 'transformers', 'rclpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
