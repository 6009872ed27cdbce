"""Clips of the synthetic world. Clip number i is always the same, in whichever worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch.utils.data import Dataset

from streamingvlm_ros.config import FrameConfig, PromptConfig, Settings
from streamingvlm_ros.demo.acts import SHAPES, Second
from streamingvlm_ros.demo.questions import (
    MOMENTS,
    NOW,
    PAST,
    Asked,
    about_colour,
    about_moments,
)
from streamingvlm_ros.demo.story import BLOCK_S
from streamingvlm_ros.demo.world import World
from streamingvlm_ros.engine.chat_format import SYSTEM_PROMPT, TO_BE_CONTINUED
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.setting import setting, settings_group
from streamingvlm_ros.types import Image

from .samples import ClipRound, ClipSample
from .world_draws import (
    any_world,
    appearance,
    captions,
    eventful,
    of_now,
    of_two_shapes,
    one_asked,
    pairs,
    without,
)

BEFORE_CLIP_S = 3
"""Seconds before a clip of which questions are asked too: their captions are surely kept."""

_GAPS_S = (1, 1, 2, 4, 60, 600)
"""From one moment of long ago to the next."""


@settings_group
class ClipConfig:
    """Settings of the clips cut from synthetic worlds.

    Clips start at multiples of half their length, so that they overlap by half.
    """

    rounds: int = setting(9, "Length of a clip in rounds.", low=2, high=60)
    side_px: int = setting(112, "Height and width of the frames in pixels.", low=28, high=4096)
    latest_s: int = setting(
        7200, "Latest start of a clip in seconds of its stream.", low=600, high=10**6
    )
    from_start: float = setting(
        0.25,
        "Share of clips that begin with the stream, and so with an instruction.",
        low=0.0,
        high=1.0,
    )
    montage: float = setting(
        0.5,
        "Share of clips whose rounds come from different worlds. Copying the previous caption is "
        "always wrong in them, so the model must learn to look.",
        low=0.0,
        high=1.0,
    )
    late: float = setting(
        0.1, "Maximum delay of a frame in seconds, as real cameras have.", low=0.0, high=0.2
    )
    question: float = setting(
        0.3,
        "Probability that a clip ends with questions about what was seen and narrated.",
        low=0.0,
        high=1.0,
    )
    remembered: float = setting(
        0.0,
        "Probability that a question is asked within the clip and its answer is remembered.",
        low=0.0,
        high=1.0,
    )
    recent: float = setting(
        0.0, "Share of samples that are a question about a few frames alone.", low=0.0, high=1.0
    )
    colours: float = setting(
        0.0,
        "Share of samples that are questions for the colours of shapes, about a few frames alone.",
        low=0.0,
        high=1.0,
    )
    moments: float = setting(
        0.0, "Share of samples that are a question about moments long past.", low=0.0, high=1.0
    )
    narration_only: float = setting(
        0.0,
        "Share of samples that are questions about the narration, without frames.",
        low=0.0,
        high=1.0,
        key="told",
    )

    def __post_init__(self) -> None:
        total = self.recent + self.colours + self.moments + self.narration_only
        if total > 1.0:
            raise ConfigError(
                f"recent, colours, moments and told are shares, together at most 1, not {total:g}"
            )


class WorldClips(Dataset[ClipSample]):
    """`count` clips of worlds with seeds below FIRST_UNSEEN_SEED.

    Every `alike` clips in a row are of one kind, and so nearly of one length: a batch of them
    wastes little on padding.
    """

    def __init__(
        self, count: int, seed: int, clips: ClipConfig, settings: Settings, alike: int = 1
    ) -> None:
        if settings.frames.chunk_seconds != 1.0:
            raise ConfigError("the synthetic world is told by the second: chunk_seconds must be 1")
        self._count, self._seed, self._clips, self._alike = count, seed, clips, alike
        self._frames: FrameConfig = settings.frames
        self._asking = settings.asking
        self._instruction = settings.prompt.instruction

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> ClipSample:
        make = self._kind(np.random.default_rng([self._seed, index // self._alike, 1]).random())
        return make(np.random.default_rng([self._seed, index]))

    def _kind(self, part: float) -> Callable[[np.random.Generator], ClipSample]:
        """What makes the clips at `part`, 0..1, of the shares."""
        clips = self._clips
        shares = np.cumsum([clips.recent, clips.colours, clips.moments, clips.narration_only])
        kinds = [self._recent, self._colours, self._long_ago, self._told, self._stream]
        return kinds[int(np.searchsorted(shares, part, side="right"))]

    def _stream(self, random: np.random.Generator) -> ClipSample:
        """A clip of narration, with or without questions."""
        world, start = any_world(random), self._start(random)
        past = captions(world, start)
        numbers = range(start, start + self._clips.rounds)
        if random.random() < self._clips.montage:
            seen = [eventful(random) for _ in numbers]
        else:
            seen = [(world, number) for number in numbers]
        rounds = [self._round(n, *where, random) for n, where in zip(numbers, seen, strict=True)]
        before = [world.second(n) for n in range(max(0, start - BEFORE_CLIP_S), start)]
        told = [*before, *(its.second(number) for its, number in seen)]
        if random.random() < self._clips.remembered:
            at = int(random.integers(1, len(rounds)))
            known = one_asked(told[: len(before) + at], random)
            rounds[at] = replace(rounds[at], question=known.question, answer=known.answer)
        asked: list[Asked] = []
        if random.random() < self._clips.question:
            asked = of_now(told[-1], random)
            asked += [one for made in PAST.values() if (one := made(told, random))]
        return ClipSample(tuple(rounds), past, "" if start else self._instruction, pairs(asked))

    def _recent(self, random: np.random.Generator) -> ClipSample:
        """The newest frames of a second and of the one before, and questions about them."""
        world, number = any_world(random), int(random.integers(1, 300))
        return self._glance(world, number, of_now(world.second(number), random), random)

    def _colours(self, random: np.random.Generator) -> ClipSample:
        """The same frames, and nothing but questions for the colour of each shape."""
        world, number = of_two_shapes(random)
        now = world.second(number)
        shapes = {thing.shape for thing in now.things}
        shapes.add(str(random.choice([shape for shape in SHAPES if shape not in shapes])))
        asked = [about_colour(now, shape) for shape in sorted(shapes)]
        return self._glance(world, number, asked, random)

    def _glance(
        self, world: World, number: int, asked: Sequence[Asked], random: np.random.Generator
    ) -> ClipSample:
        frames = [
            image
            for second in (number - 1, number)
            for image in self._round(0, world, second, random).images
        ]
        seen = ClipRound(0, 0, tuple(frames[-self._asking.recent_frames :]))
        return ClipSample((seen,), asked=pairs(asked), plain=True)

    def _long_ago(self, random: np.random.Generator) -> ClipSample:
        """Some moments of a thing's time on the table and of others, and questions about it."""
        world, block = any_world(random), BLOCK_S * int(random.integers(10))
        numbers, thing = appearance(world, block, self._asking.history_moments, random)
        asked = [about_moments([world.second(n) for n in numbers], thing, kind) for kind in MOMENTS]
        seen = [(world, number) for number in numbers]
        while len(seen) < self._asking.history_moments and random.random() < 0.3:
            seen.insert(int(random.integers(len(seen) + 1)), without(thing.shape, random))
        time_s, rounds = int(random.integers(self._clips.latest_s)), []
        for where in seen:
            full = self._round(time_s, *where, random)
            rounds.append(replace(full, images=full.images[-1:], given=True))
            time_s += int(random.choice(_GAPS_S))
        return ClipSample(tuple(rounds), asked=pairs([one for one in asked if one]))

    def _told(self, random: np.random.Generator) -> ClipSample:
        """What was said in some seconds, and questions that it answers."""
        world, start = any_world(random), int(random.integers(1, self._clips.latest_s))
        told = [world.second(start + n) for n in range(self._clips.rounds)]
        rounds = tuple(
            ClipRound(start + n, start + n + 1, (), second.caption, given=True)
            for n, second in enumerate(told)
        )
        asked = [one for one in of_now(told[-1], random) if not one.question.startswith("Where")]
        asked += [one for made in PAST.values() if (one := made(told, random))]
        return ClipSample(rounds, asked=pairs(asked))

    def _start(self, random: np.random.Generator) -> int:
        """Early and late starts alike: half of those in mid-stream are in the first minute."""
        if random.random() < self._clips.from_start:
            return 0
        stride = self._clips.rounds // 2
        latest_s = self._clips.latest_s if random.random() < 0.5 else 60
        return stride * int(random.integers(1, latest_s // stride))

    def _round(
        self, number: int, world: World, second: int, random: np.random.Generator
    ) -> ClipRound:
        """What is seen in one second of a world, as round `number` of a stream."""
        count = self._frames.frames_per_chunk
        late = random.uniform(0.0, self._clips.late, count)
        images: tuple[Image, ...] = tuple(
            world.frame(
                second + i / self._frames.fps + late[i], self._clips.side_px, self._clips.side_px
            )
            for i in range(count)
        )
        return ClipRound(number, number + 1, images, world.caption(second))


def world_texts(prompt: PromptConfig) -> Iterator[str]:
    """What is written in clips: what a small tokenizer for them is made from."""
    random = np.random.default_rng(0)
    for seed in range(40):
        world = World(seed)
        for second in range(300):
            yield f" {world.caption(second)}{TO_BE_CONTINUED}"
            for asked in _every_question(world.second(second), random):
                yield from (asked.question, asked.answer)
    turns = ("system\n", SYSTEM_PROMPT, "previous text\n", "user\nTime=0.0s", "assistant\n")
    for text in (*turns, prompt.instruction):
        # Often enough for every word to become one token.
        yield from [text, " " + text] * 50


def _every_question(second: Second, random: np.random.Generator) -> Iterator[Asked]:
    """What can be asked of a second, as it goes on, when it is past and long ago."""
    yield from (make(second, random) for make in NOW.values())
    past = [make([second, second], random) for make in PAST.values()]
    then = [make([second], act.thing) for act in second.acts for make in MOMENTS.values()]
    yield from (asked for asked in (*past, *then) if asked)
