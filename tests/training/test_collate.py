"""Batches of clips: the sequences that the engine streams, with labels on the narration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.chat_format import ChatFormat
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.engine.qwen2_5.vision import VisionSpec
from streamingvlm_ros.types import NS_PER_S, Chunk, HistoryMoment, Question
from streamingvlm_training.collate import Collator
from streamingvlm_training.datasets.clips import EMPTY_SAMPLE
from streamingvlm_training.packing import IGNORED
from streamingvlm_training.recipe import Recipe
from streamingvlm_training.samples import ClipRound, ClipSample
from streamingvlm_training.tiny_model import new_model
from streamingvlm_training.trainer import collator_for

from .world_samples import WORLD, ForcedSampler, world_clip, world_frames


@pytest.fixture(scope="module")
def model(tiny: Recipe, tokenizer: PreTrainedTokenizerFast) -> Any:
    return new_model(tiny.model, tokenizer).eval()


@pytest.fixture(scope="module")
def collator(model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings) -> Collator:
    return collator_for(model, tokenizer, settings=settings)


@pytest.mark.parametrize("streamed", [1, 3, 4, 5, 9, 20, 33])
def test_a_clip_equals_the_engines_context_after_as_many_rounds(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    collator: Collator,
    settings: Settings,
    streamed: int,
) -> None:
    engine = StreamingEngine(LoadedModel(model, tokenizer), settings)
    stream = engine.open_stream()
    narration_ids: list[int] = []
    for n in range(streamed):
        for segment in engine.model.chat_format.assistant_turn(n, WORLD.caption(n)):
            newline = engine.model.chat_format.encode("\n")
            narration_ids += [id for id in segment.ids if id not in newline]
    ForcedSampler(engine, narration_ids)
    for n in range(streamed):
        stream.step(Chunk(world_frames(n), n * NS_PER_S, (n + 1) * NS_PER_S))

    first = max(0, streamed - settings.window.text_rounds)
    trained = collator.sequence(world_clip(first, streamed, settings=settings)).ledger
    assert trained.ids[:-1] == stream.context_ids
    streamed_positions = engine.model.positions(stream.ledger)
    count = streamed_positions.shape[1]
    assert (engine.model.positions(trained)[:, :count] == streamed_positions).all()


def test_labels_are_the_assistants_tokens_up_to_the_end_of_its_turn(
    collator: Collator, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    asked = (("What is on the table?", "A red star."), ("Where?", "There."))
    batch = collator([replace(world_clip(0, 4, settings=settings), questions=asked)])
    written = tokenizer.decode(batch["input_ids"][0])
    assert "Time=3.0-4.0s What is on the table?<|im_end|>" in written
    labels = batch["labels"][0]
    narration = "".join(
        (" " + text if (text := WORLD.caption(n)) else "") + " ...<|im_end|>" for n in range(4)
    )
    labelled = [int(label) for label in labels if label != IGNORED]
    assert (
        tokenizer.decode(labelled)
        == narration + "A red star.\n ...<|im_end|>There.\n ...<|im_end|>"
    )


def test_context_only_rounds_have_no_labels_but_questions_about_them_do(
    collator: Collator, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    sample = world_clip(0, 2, settings=settings)
    rounds = tuple(replace(round, context_only=True) for round in sample.rounds)
    labels = collator.sequence(
        replace(sample, rounds=rounds, questions=(("Where?", "There."),))
    ).labels
    labelled = [label for label in labels if label != IGNORED]
    assert tokenizer.decode(labelled) == "There.\n ...<|im_end|>"


def test_a_clips_questions_equal_those_that_the_engine_asks(
    model: Any, tokenizer: PreTrainedTokenizerFast, collator: Collator, settings: Settings
) -> None:
    """Each branch has the logits of the clip with that question alone and a causal mask."""
    questions = (("What is on the table?", "A red star."), ("Where?", "There."), ("How?", "So."))
    sample = world_clip(0, 4, settings=settings)
    sequence = collator.sequence(replace(sample, questions=questions))
    with torch.inference_mode():
        together = model(**collator([replace(sample, questions=questions)])).logits[0]
        for number, pair in enumerate(questions, 1):
            alone = collator([replace(sample, questions=(pair,))])
            alone["attention_mask"] = torch.ones(1, alone["input_ids"].shape[1])
            own = [n in (0, number) for n in sequence.branch]
            difference = together[: len(own)][own] - model(**alone).logits[0]
            assert difference.abs().max() < 1e-4
    chat_format = ChatFormat(tokenizer)
    turn = chat_format.user_turn(4, (3.0, 4.0), question="Where?")
    prompt_ids = [id for segment in turn for id in segment.ids]
    ids = [id for id, n in zip(sequence.ledger.ids, sequence.branch, strict=True) if n == 2]
    assert ids[: len(prompt_ids)] == prompt_ids


def test_an_image_qa_sample_equals_the_prompt_of_a_question_about_frames(
    model: Any, tokenizer: PreTrainedTokenizerFast, collator: Collator, settings: Settings
) -> None:
    engine = StreamingEngine(LoadedModel(model, tokenizer), settings)
    frames = (*world_frames(0), *world_frames(1))
    prompt = engine.open_stream().question(Question("Where?", frames=frames))[0]
    round = ClipRound(0, 0, tuple(frame.image for frame in frames))
    sequence = collator.sequence(
        ClipSample((round,), questions=(("How?", "So."), ("Where?", "There.")), image_qa=True)
    )
    chat_format = ChatFormat(tokenizer)
    ids = [id for id, n in zip(sequence.ledger.ids, sequence.branch, strict=True) if n in (0, 2)]
    prompt_ids = [id for segment in prompt.segments for id in segment.ids]
    assert ids == [*prompt_ids, *chat_format.encode("There."), *chat_format.closing(0).ids]


def test_moments_equal_the_prompt_of_a_question_about_them(
    model: Any, tokenizer: PreTrainedTokenizerFast, collator: Collator, settings: Settings
) -> None:
    engine = StreamingEngine(LoadedModel(model, tokenizer), settings)
    seconds = (0, 2, 5)
    moments = tuple(
        HistoryMoment(world_frames(n)[1], n * NS_PER_S, (n + 1) * NS_PER_S, WORLD.caption(n))
        for n in seconds
    )
    prompt = engine.open_stream().question(Question("Where?", moments=moments))[0]
    rounds = tuple(
        ClipRound(n, n + 1, (world_frames(n)[1].image,), WORLD.caption(n), context_only=True)
        for n in seconds
    )
    sequence = collator.sequence(ClipSample(rounds, questions=(("Where?", "There."),)))
    prompt_ids = [id for segment in prompt.segments for id in segment.ids]
    assert sequence.ledger.ids[: len(prompt_ids)] == prompt_ids


def test_every_label_equals_the_input_token_at_its_position(
    collator: Collator, settings: Settings
) -> None:
    batch = collator([world_clip(0, 4, settings=settings), world_clip(7, 9, settings=settings)])
    labelled = batch["labels"] != IGNORED
    assert labelled.any(dim=1).all()
    assert (batch["labels"][labelled] == batch["input_ids"][labelled]).all()


def test_padding_changes_no_clips_logits(
    model: Any, collator: Collator, settings: Settings
) -> None:
    short, long = world_clip(6, 8, settings=settings), world_clip(0, 4, settings=settings)
    with_question = replace(long, questions=(("What is on the table?", "Nothing."),))
    with torch.inference_mode():
        logits = model(**collator([short])).logits[0]
        padded = [model(**collator([short, other])).logits[0] for other in (long, with_question)]
    for one in padded:
        assert (one[: len(logits)] - logits).abs().max() < 1e-4
        assert one.isfinite().all()


def test_a_batch_holds_the_patches_of_all_its_frames(
    collator: Collator, settings: Settings
) -> None:
    batch = collator([world_clip(0, 4, settings=settings), world_clip(7, 9, settings=settings)])
    assert batch["video_grid_thw"].tolist() == [[1, 4, 4]] * 6
    assert batch["pixel_values_videos"].shape == (6 * 16, 3 * 2 * 14 * 14)
    assert batch["position_ids"].shape == (3, *batch["input_ids"].shape)


def test_previous_text_is_cut_to_sink_and_window(
    collator: Collator, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    chat_format = ChatFormat(tokenizer)
    captions = [" " + caption for n in range(20) if (caption := WORLD.caption(n))]
    all_ids = [id for caption in captions for id in chat_format.encode(caption)]
    sink, newest = settings.window.text_sink, settings.window.text_window - 1
    ids = collator.sequence(world_clip(20, 21, settings=settings)).ledger.segments[2].ids
    assert list(ids) == all_ids[:sink] + all_ids[-newest:]


def test_frames_of_a_question_have_the_resolution_for_questions(
    model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    finer = settings.updated({"question_frame_tokens": 16})
    spec = VisionSpec.of(model.config, finer.model)
    collator = Collator(ChatFormat(tokenizer), finer, spec=spec)
    large = np.zeros((112, 112, 3), np.uint8)
    round, questions = ClipRound(0, 1, (large,)), (("Where?", "There."),)
    live = collator.sequence(ClipSample((round,), questions=questions))
    images = collator.sequence(ClipSample((round,), questions=questions, image_qa=True))
    moment = collator.sequence(
        ClipSample((replace(round, context_only=True),), questions=questions)
    )
    assert [clip.grids for clip in (live, images, moment)] == [
        ((1, 2, 2),),
        ((1, 4, 4),),
        ((1, 4, 4),),
    ]


CONTEXT_ROUND = ClipRound(7, 8, (), "a circle", context_only=True)


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(ClipSample((replace(CONTEXT_ROUND, context_only=False),)), id="causal"),
        pytest.param(
            ClipSample((CONTEXT_ROUND,), questions=(("What?", "A circle."),)), id="with-a-question"
        ),
        pytest.param(EMPTY_SAMPLE, id="nothing"),
    ],
)
def test_a_black_frame_in_a_batch_without_frames_changes_no_logits_and_no_gradients(
    model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings, sample: ClipSample
) -> None:
    """The vision tower takes part for the sake of other processes, and learns nothing."""
    without_frames = collator_for(model, tokenizer, settings=settings)([sample])
    with_frame = collator_for(model, tokenizer, settings=settings, always_sees=True)([sample])
    assert "pixel_values_videos" not in without_frames
    label_counts = [(b["labels"] != IGNORED).sum() for b in (with_frame, without_frames)]
    assert label_counts[0] == label_counts[1]
    expected, output = (
        model(**{**batch, "num_items_in_batch": torch.tensor(3)})
        for batch in (without_frames, with_frame)
    )
    length = without_frames["input_ids"].shape[1]
    assert output.logits.shape[1] > length
    assert (output.logits[:, :length] - expected.logits).abs().max() < 1e-5
    assert output.loss.item() == pytest.approx(expected.loss.item(), abs=1e-5)
    output.loss.backward()
    gradients = [weight.grad for weight in model.model.visual.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)
    model.zero_grad()


def test_a_batch_with_frames_gets_no_black_frame(
    model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    without_frames = ClipSample((CONTEXT_ROUND,), questions=(("What?", "A circle."),))
    samples = [world_clip(0, 2, settings=settings), without_frames]
    expected = collator_for(model, tokenizer, settings=settings)(samples)
    batch = collator_for(model, tokenizer, settings=settings, always_sees=True)(samples)
    assert all(torch.equal(tensor, batch[name]) for name, tensor in expected.items())
