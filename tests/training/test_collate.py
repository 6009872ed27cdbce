"""A clip's batch: the sequence that the engine streams, and labels on what is said alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from streamingvlm_ros.config import Settings
from streamingvlm_ros.demo.questions import ABSENT
from streamingvlm_ros.demo.world import World
from streamingvlm_ros.engine.chat_format import ChatFormat
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.qwen2_5.checkpoint import LoadedModel
from streamingvlm_ros.engine.qwen2_5.vision import VisionSpec
from streamingvlm_ros.engine.sampler import RowSampler
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame, HistoryMoment, Question
from streamingvlm_training.collate import Collator
from streamingvlm_training.datasets.clips import NOTHING
from streamingvlm_training.packing import IGNORED
from streamingvlm_training.recipe import Recipe
from streamingvlm_training.samples import ClipRound, ClipSample
from streamingvlm_training.tiny_model import new_model
from streamingvlm_training.trainer import collator_for
from streamingvlm_training.world_clips import ClipConfig, WorldClips

WORLD = World(3)


class Reciting(RowSampler):
    """Says what it is given, whatever the model thinks."""

    def __init__(self, engine: StreamingEngine, ids: list[int]) -> None:
        super().__init__(engine.runner.rows, engine.model.decoder.vocabulary, engine.device)
        self._ids = iter(ids)
        engine.runner.sampler = self

    def choose(self, logits: Tensor, rows: slice) -> Tensor:
        return torch.tensor([next(self._ids)])


@pytest.fixture(scope="module")
def model(tiny: Recipe, tokenizer: PreTrainedTokenizerFast) -> Any:
    return new_model(tiny.model, tokenizer).eval()


@pytest.fixture(scope="module")
def collator(model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings) -> Collator:
    return collator_for(model, tokenizer, settings)


def frames(second: int) -> tuple[Frame, ...]:
    return tuple(
        Frame(WORLD.frame(second + part, 56, 56), int((second + part) * NS_PER_S))
        for part in (0.0, 0.5)
    )


def clip(first: int, until: int, settings: Settings) -> ClipSample:
    """Seconds of the world as a clip, with all that was said before them."""
    rounds = (
        ClipRound(n, n + 1, tuple(f.image for f in frames(n)), WORLD.caption(n))
        for n in range(first, until)
    )
    past = tuple(map(WORLD.caption, range(first)))
    return ClipSample(tuple(rounds), past, "" if first else settings.prompt.instruction)


@pytest.mark.parametrize("streamed", [1, 3, 4, 5, 9, 20, 33])
def test_a_clip_is_what_the_engine_holds_when_it_has_streamed_as_far(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    collator: Collator,
    settings: Settings,
    streamed: int,
) -> None:
    engine = StreamingEngine(LoadedModel(model, tokenizer), settings)
    stream = engine.open_stream()
    said: list[int] = []
    for n in range(streamed):
        for segment in engine.model.chat_format.assistant_turn(n, WORLD.caption(n)):
            said += [id for id in segment.ids if id not in engine.model.chat_format.encode("\n")]
    Reciting(engine, said)
    for n in range(streamed):
        stream.step(Chunk(frames(n), n * NS_PER_S, (n + 1) * NS_PER_S))

    first = max(0, streamed - settings.window.text_rounds)
    trained = collator.sequence(clip(first, streamed, settings)).ledger
    assert trained.ids[:-1] == stream.context_ids
    held = engine.model.positions(stream.ledger)
    assert (engine.model.positions(trained)[:, : held.shape[1]] == held).all()


def test_labels_are_what_the_assistant_says_up_to_the_end_of_its_turn(
    collator: Collator, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    asked = (("What is on the table?", "A red star."), ("Where?", "There."))
    batch = collator([replace(clip(0, 4, settings), asked=asked)])
    written = tokenizer.decode(batch["input_ids"][0])
    assert "Time=3.0-4.0s What is on the table?<|im_end|>" in written
    labels = batch["labels"][0]
    spoken = "".join(
        (" " + text if (text := WORLD.caption(n)) else "") + " ...<|im_end|>" for n in range(4)
    )
    said = [int(label) for label in labels if label != IGNORED]
    assert tokenizer.decode(said) == spoken + "A red star.\n ...<|im_end|>There.\n ...<|im_end|>"


def test_what_is_given_is_not_learnt_but_what_is_asked_of_it(
    collator: Collator, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    told = clip(0, 2, settings)
    rounds = tuple(replace(round, given=True) for round in told.rounds)
    labels = collator.sequence(replace(told, rounds=rounds, asked=(("Where?", "There."),))).labels
    said = [label for label in labels if label != IGNORED]
    assert tokenizer.decode(said) == "There.\n ...<|im_end|>"


def test_questions_of_a_clip_are_asked_as_the_engine_asks_them(
    model: Any, tokenizer: PreTrainedTokenizerFast, collator: Collator, settings: Settings
) -> None:
    """Each branch's logits are those of the clip with that question alone, plainly continued."""
    asked = (("What is on the table?", "A red star."), ("Where?", "There."), ("How?", "So."))
    told = clip(0, 4, settings)
    sequence = collator.sequence(replace(told, asked=asked))
    with torch.inference_mode():
        together = model(**collator([replace(told, asked=asked)])).logits[0]
        for number, pair in enumerate(asked, 1):
            alone = collator([replace(told, asked=(pair,))])
            alone["attention_mask"] = torch.ones(1, alone["input_ids"].shape[1])
            own = [n in (0, number) for n in sequence.branch]
            difference = together[: len(own)][own] - model(**alone).logits[0]
            assert difference.abs().max() < 1e-4
    chat_format = ChatFormat(tokenizer)
    turn = chat_format.user_turn(4, 3.0, 4.0, question="Where?")
    fed = [id for segment in turn for id in segment.ids]
    ids = [id for id, n in zip(sequence.ledger.ids, sequence.branch, strict=True) if n == 2]
    assert ids[: len(fed)] == fed


def test_a_plain_clip_is_the_prompt_that_frames_alone_are_asked_with(
    model: Any, tokenizer: PreTrainedTokenizerFast, collator: Collator, settings: Settings
) -> None:
    engine = StreamingEngine(LoadedModel(model, tokenizer), settings)
    pictures = (*frames(0), *frames(1))
    prompt = engine.open_stream().question(Question("Where?", frames=pictures))[0]
    seen = ClipRound(0, 0, tuple(frame.image for frame in pictures))
    sequence = collator.sequence(
        ClipSample((seen,), asked=(("How?", "So."), ("Where?", "There.")), plain=True)
    )
    ids = [id for id, n in zip(sequence.ledger.ids, sequence.branch, strict=True) if n in (0, 2)]
    fed = [id for segment in prompt.segments for id in segment.ids]
    assert ids == [*fed, *dialogue_ids(tokenizer, "There."), *closing_ids(tokenizer)]


def dialogue_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> tuple[int, ...]:
    return ChatFormat(tokenizer).encode(text)


def closing_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    return ChatFormat(tokenizer).closing(0).ids


def test_moments_are_the_prompt_that_they_are_asked_with(
    model: Any, tokenizer: PreTrainedTokenizerFast, collator: Collator, settings: Settings
) -> None:
    engine = StreamingEngine(LoadedModel(model, tokenizer), settings)
    seconds = (0, 2, 5)
    moments = tuple(
        HistoryMoment(frames(n)[1], n * NS_PER_S, (n + 1) * NS_PER_S, WORLD.caption(n))
        for n in seconds
    )
    prompt = engine.open_stream().question(Question("Where?", moments=moments))[0]
    rounds = tuple(
        ClipRound(n, n + 1, (frames(n)[1].image,), WORLD.caption(n), given=True) for n in seconds
    )
    sequence = collator.sequence(ClipSample(rounds, asked=(("Where?", "There."),)))
    fed = [id for segment in prompt.segments for id in segment.ids]
    assert sequence.ledger.ids[: len(fed)] == fed


def test_every_label_is_the_token_at_its_place(collator: Collator, settings: Settings) -> None:
    batch = collator([clip(0, 4, settings), clip(7, 9, settings)])
    learnt = batch["labels"] != IGNORED
    assert learnt.any(dim=1).all()
    assert (batch["labels"][learnt] == batch["input_ids"][learnt]).all()


def test_padding_changes_no_clips_loss(model: Any, collator: Collator, settings: Settings) -> None:
    short, long = clip(6, 8, settings), clip(0, 4, settings)
    asked = replace(long, asked=(("What is on the table?", "Nothing."),))
    with torch.inference_mode():
        logits = model(**collator([short])).logits[0]
        padded = [model(**collator([short, other])).logits[0] for other in (long, asked)]
    for one in padded:
        assert (one[: len(logits)] - logits).abs().max() < 1e-4
        assert one.isfinite().all()


def test_a_batch_holds_the_patches_of_all_its_frames(
    collator: Collator, settings: Settings
) -> None:
    batch = collator([clip(0, 4, settings), clip(7, 9, settings)])
    assert batch["video_grid_thw"].tolist() == [[1, 4, 4]] * 6
    assert batch["pixel_values_videos"].shape == (6 * 16, 3 * 2 * 14 * 14)
    assert batch["position_ids"].shape == (3, *batch["input_ids"].shape)


def test_previous_text_is_cut_to_sink_and_window(
    collator: Collator, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    chat_format = ChatFormat(tokenizer)
    said = [id for n in range(20) if (c := WORLD.caption(n)) for id in chat_format.encode(" " + c)]
    sink, newest = settings.window.text_sink, settings.window.text_window - 1
    ids = collator.sequence(clip(20, 21, settings)).ledger.segments[2].ids
    assert list(ids) == said[:sink] + said[-newest:]


def test_clips_begin_with_the_stream_or_within_it(tiny: Recipe) -> None:
    clips = WorldClips(60, 0, ClipConfig(rounds=3, side_px=28), tiny.settings)
    starts = {clips[i].rounds[0].start_s: clips[i] for i in range(60)}
    assert min(starts) == 0
    assert max(starts) > 1000
    for start, sample in starts.items():
        assert bool(sample.instruction) == (start == 0)
        assert bool(sample.previous) == (start > 0)


def test_a_clip_is_the_same_whenever_it_is_asked_for(tiny: Recipe) -> None:
    one, two = (WorldClips(9, 0, tiny.clips, tiny.settings) for _ in range(2))
    assert two[7].rounds[0].images[0].tolist() == one[7].rounds[0].images[0].tolist()
    assert [r.text for r in two[7].rounds] == [r.text for r in one[7].rounds]
    assert [r.text for r in one[6].rounds] != [r.text for r in one[7].rounds]


def test_clips_of_every_kind_hold_questions_and_none_without_a_share(tiny: Recipe) -> None:
    config = ClipConfig(rounds=9, side_px=28, question=1.0, recent=0.3, moments=0.3)
    clips = [WorldClips(30, 0, config, tiny.settings)[i] for i in range(30)]
    kinds = {("plain" if c.plain else "given" if c.rounds[0].given else "live") for c in clips}
    assert kinds == {"plain", "given", "live"}
    assert all(clip.asked for clip in clips)
    silent = WorldClips(30, 0, ClipConfig(rounds=3, side_px=28, question=0.0), tiny.settings)
    assert not any(silent[i].asked for i in range(30))


def test_a_remembered_question_stands_in_a_round_after_the_first(tiny: Recipe) -> None:
    config = ClipConfig(rounds=4, side_px=28, remembered=1.0, montage=0.0)
    for clip in (WorldClips(9, 0, config, tiny.settings)[i] for i in range(9)):
        asked = [index for index, round in enumerate(clip.rounds) if round.question]
        assert len(asked) == 1
        assert asked[0] > 0
        assert clip.rounds[asked[0]].answer


def test_clips_of_a_batch_are_of_one_kind_and_batches_are_of_every_kind(tiny: Recipe) -> None:
    config = ClipConfig(rounds=3, side_px=28, recent=0.5)
    clips = WorldClips(60, 0, config, tiny.settings, alike=3)
    batches = [{clips[3 * n + i].plain for i in range(3)} for n in range(20)]
    assert all(len(kinds) == 1 for kinds in batches)
    assert set().union(*batches) == {True, False}


def test_clips_for_colours_ask_of_two_shapes_with_different_answers_and_of_one_that_is_absent(
    tiny: Recipe,
) -> None:
    clips = WorldClips(20, 0, ClipConfig(side_px=28, colours=1.0), tiny.settings)
    for clip in (clips[i] for i in range(20)):
        assert clip.plain
        questions, answers = zip(*clip.asked, strict=True)
        assert all(question.startswith("What colour is the ") for question in questions)
        assert len(set(questions)) == len(set(answers)) == 3
        assert answers.count(ABSENT) == 1


def test_no_clip_asks_the_same_question_twice(tiny: Recipe) -> None:
    config = ClipConfig(rounds=3, side_px=28, question=1.0, recent=0.3, told=0.3)
    clips = WorldClips(30, 0, config, tiny.settings)
    for clip in (clips[i] for i in range(30)):
        assert len(set(clip.asked)) == len(clip.asked)


def test_shares_of_more_than_all_clips_are_refused() -> None:
    with pytest.raises(ConfigError, match="together at most 1"):
        ClipConfig(recent=0.5, moments=0.3, told=0.3)


def test_frames_that_a_question_brings_along_are_learnt_at_its_resolution(
    model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    finer = settings.updated({"question_frame_tokens": 16})
    spec = VisionSpec.of(model.config, finer.model)
    collator = Collator(ChatFormat(tokenizer), finer, spec)
    large = np.zeros((112, 112, 3), np.uint8)
    seen, asked = ClipRound(0, 1, (large,)), (("Where?", "There."),)
    live = collator.sequence(ClipSample((seen,), asked=asked))
    plain = collator.sequence(ClipSample((seen,), asked=asked, plain=True))
    moment = collator.sequence(ClipSample((replace(seen, given=True),), asked=asked))
    assert [clip.grids for clip in (live, plain, moment)] == [
        ((1, 2, 2),),
        ((1, 4, 4),),
        ((1, 4, 4),),
    ]


SAID = ClipRound(7, 8, (), "a circle", given=True)


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(ClipSample((replace(SAID, given=False),)), id="causal"),
        pytest.param(ClipSample((SAID,), asked=(("What?", "A circle."),)), id="with-a-question"),
        pytest.param(NOTHING, id="nothing"),
    ],
)
def test_a_black_frame_in_a_batch_without_any_changes_nothing(
    model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings, sample: ClipSample
) -> None:
    """The vision tower takes part, for other processes' sake, and learns nothing."""
    blind = collator_for(model, tokenizer, settings)([sample])
    seeing = collator_for(model, tokenizer, settings, always_sees=True)([sample])
    assert "pixel_values_videos" not in blind
    assert (seeing["labels"] != IGNORED).sum() == (blind["labels"] != IGNORED).sum()
    plain, padded = (
        model(**{**batch, "num_items_in_batch": torch.tensor(3)}) for batch in (blind, seeing)
    )
    length = blind["input_ids"].shape[1]
    assert padded.logits.shape[1] > length
    assert (padded.logits[:, :length] - plain.logits).abs().max() < 1e-5
    assert padded.loss.item() == pytest.approx(plain.loss.item(), abs=1e-5)
    padded.loss.backward()
    learnt = [its.grad for its in model.model.visual.parameters()]
    assert all(its is not None and not its.any() for its in learnt)
    model.zero_grad()


def test_a_batch_with_frames_gets_no_other(
    model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    samples = [clip(0, 2, settings), ClipSample((SAID,), asked=(("What?", "A circle."),))]
    plain = collator_for(model, tokenizer, settings)(samples)
    seeing = collator_for(model, tokenizer, settings, always_sees=True)(samples)
    assert all(torch.equal(its, seeing[name]) for name, its in plain.items())
