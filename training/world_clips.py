"""Clips of the synthetic world. Clip number i is the same in every process and worker."""

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
    QuestionAnswer,
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
    any_question,
    any_world,
    captions,
    eventful_second,
    moments_of_one_thing,
    question_pairs,
    questions_about_now,
    second_with_two_shapes,
    second_without,
)

BEFORE_CLIP_S = 3
"""Seconds before a clip that questions may be about: the window still has their captions."""

_GAPS_S = (1, 1, 2, 4, 60, 600)
"""Seconds between two moments long past."""


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
        "Share of samples that are questions about colours of shapes, about a few frames alone.",
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

    Every `group_size` clips in a row are of one kind, and so of nearly the same length: a batch of
    them has little padding.

    Raises:
        ConfigError: Chunks are not one second long.
    """

    def __init__(
        self, count: int, seed: int, *, clips: ClipConfig, settings: Settings, group_size: int = 1
    ) -> None:
        if settings.frames.chunk_seconds != 1.0:
            raise ConfigError(
                "the synthetic world has a caption for each second: chunk_seconds must be 1, not "
                f"{settings.frames.chunk_seconds:g}"
            )
        self._count, self._seed, self._clips, self._group_size = count, seed, clips, group_size
        self._frames: FrameConfig = settings.frames
        self._asking = settings.asking
        self._instruction = settings.prompt.instruction

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> ClipSample:
        group = index // self._group_size
        make = self._kind(np.random.default_rng([self._seed, group, 1]).random())
        return make(np.random.default_rng([self._seed, index]))

    def _kind(self, position: float) -> Callable[[np.random.Generator], ClipSample]:
        """Return the maker of clips at `position`, 0..1, among the shares."""
        clips = self._clips
        shares = np.cumsum([clips.recent, clips.colours, clips.moments, clips.narration_only])
        kinds = [
            self._recent_frames,
            self._colours,
            self._past_moments,
            self._narration_only,
            self._stream,
        ]
        return kinds[int(np.searchsorted(shares, position, side="right"))]

    def _stream(self, random: np.random.Generator) -> ClipSample:
        """Make a clip of narration, with or without questions."""
        world, start = any_world(random), self._start(random)
        past = captions(world, start)
        numbers = range(start, start + self._clips.rounds)
        if random.random() < self._clips.montage:
            sources = [eventful_second(random) for _ in numbers]
        else:
            sources = [(world, number) for number in numbers]
        rounds = [
            self._round(n, world=source, second=second, random=random)
            for n, (source, second) in zip(numbers, sources, strict=True)
        ]
        before = [world.second(n) for n in range(max(0, start - BEFORE_CLIP_S), start)]
        seconds = [*before, *(source.second(second) for source, second in sources)]
        if random.random() < self._clips.remembered:
            at = int(random.integers(1, len(rounds)))
            known = any_question(seconds[: len(before) + at], random)
            rounds[at] = replace(rounds[at], question=known.question, answer=known.answer)
        questions: list[QuestionAnswer] = []
        if random.random() < self._clips.question:
            questions = questions_about_now(seconds[-1], random)
            questions += _questions_about_past(seconds, random)
        instruction = "" if start else self._instruction
        return ClipSample(tuple(rounds), past, instruction, question_pairs(questions))

    def _recent_frames(self, random: np.random.Generator) -> ClipSample:
        """Make the newest frames of a second and of the one before, with questions about them."""
        world, number = any_world(random), int(random.integers(1, 300))
        questions = questions_about_now(world.second(number), random)
        return self._image_qa(world, number, questions=questions, random=random)

    def _colours(self, random: np.random.Generator) -> ClipSample:
        """Make the same frames, with only a question about the colour of each shape."""
        world, number = second_with_two_shapes(random)
        now = world.second(number)
        shapes = {thing.shape for thing in now.things}
        shapes.add(str(random.choice([shape for shape in SHAPES if shape not in shapes])))
        questions = [about_colour(now, shape) for shape in sorted(shapes)]
        return self._image_qa(world, number, questions=questions, random=random)

    def _image_qa(
        self,
        world: World,
        number: int,
        *,
        questions: Sequence[QuestionAnswer],
        random: np.random.Generator,
    ) -> ClipSample:
        frames = [
            image
            for second in (number - 1, number)
            for image in self._round(0, world=world, second=second, random=random).images
        ]
        round = ClipRound(0, 0, tuple(frames[-self._asking.recent_frames :]))
        return ClipSample((round,), questions=question_pairs(questions), image_qa=True)

    def _past_moments(self, random: np.random.Generator) -> ClipSample:
        """Make moments of a thing on the table, and others, with questions about the thing."""
        world, block = any_world(random), BLOCK_S * int(random.integers(10))
        max_moments = self._asking.history_moments
        numbers, thing = moments_of_one_thing(world, block, max_moments=max_moments, random=random)
        seconds = [world.second(n) for n in numbers]
        questions = [about_moments(seconds, thing, kind=kind) for kind in MOMENTS]
        sources = [(world, number) for number in numbers]
        while len(sources) < max_moments and random.random() < 0.3:
            index = int(random.integers(len(sources) + 1))
            sources.insert(index, second_without(thing.shape, random))
        time_s, rounds = int(random.integers(self._clips.latest_s)), []
        for source, second in sources:
            full = self._round(time_s, world=source, second=second, random=random)
            rounds.append(replace(full, images=full.images[-1:], context_only=True))
            time_s += int(random.choice(_GAPS_S))
        pairs = question_pairs([question for question in questions if question])
        return ClipSample(tuple(rounds), questions=pairs)

    def _narration_only(self, random: np.random.Generator) -> ClipSample:
        """Make the narration of some seconds, with questions that it answers."""
        world, start = any_world(random), int(random.integers(1, self._clips.latest_s))
        seconds = [world.second(start + n) for n in range(self._clips.rounds)]
        rounds = tuple(
            ClipRound(start + n, start + n + 1, (), second.caption, context_only=True)
            for n, second in enumerate(seconds)
        )
        about_now = questions_about_now(seconds[-1], random)
        questions = [one for one in about_now if not one.question.startswith("Where")]
        questions += _questions_about_past(seconds, random)
        return ClipSample(rounds, questions=question_pairs(questions))

    def _start(self, random: np.random.Generator) -> int:
        """Draw a start. Half of those within a stream are in its first minute."""
        if random.random() < self._clips.from_start:
            return 0
        stride = self._clips.rounds // 2
        latest_s = self._clips.latest_s if random.random() < 0.5 else 60
        return stride * int(random.integers(1, latest_s // stride))

    def _round(
        self, number: int, *, world: World, second: int, random: np.random.Generator
    ) -> ClipRound:
        """Make round `number` of a stream from one second of a world."""
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
    """Yield the texts of clips, to train a small tokenizer on."""
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


def _questions_about_past(
    seconds: Sequence[Second], random: np.random.Generator
) -> list[QuestionAnswer]:
    return [question for make in PAST.values() if (question := make(seconds, random))]


def _every_question(second: Second, random: np.random.Generator) -> Iterator[QuestionAnswer]:
    """Yield every kind of question about a second: while it goes on, just after, and much later."""
    yield from (make(second, random) for make in NOW.values())
    recent = [make([second, second], random) for make in PAST.values()]
    old = [make([second], act.thing) for act in second.acts for make in MOMENTS.values()]
    yield from (question for question in (*recent, *old) if question)
