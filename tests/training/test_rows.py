"""Packed into one row, clips teach what they do in padded rows, whatever attends to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    modeling_flash_attention_utils,
)

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.qwen2_5.vision import VisionSpec
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.rank import ALONE
from streamingvlm_training.attention import CLIP_BY_CLIP, EQUAL_CHUNKS, FLASH, register
from streamingvlm_training.datasets.clips import NOTHING
from streamingvlm_training.packing import IGNORED
from streamingvlm_training.recipe import Recipe, TrainConfig
from streamingvlm_training.samples import ClipRound, ClipSample
from streamingvlm_training.tiny_model import new_model
from streamingvlm_training.trainer import check_positions, collator_for, trainer_for

from .conftest import losses
from .test_collate import WORLD, clip

ONE = (("What is on the table?", "A red star."),)
SEVERAL = (*ONE, ("Where?", "There."), ("How many things are there?", "Two."))


@pytest.fixture(scope="module")
def model(tiny: Recipe, tokenizer: PreTrainedTokenizerFast) -> Any:
    """It attends as it does when it is trained without a GPU."""
    register()
    torch.manual_seed(0)
    model = new_model(tiny.model, tokenizer).eval()
    model.set_attn_implementation({"vision_config": EQUAL_CHUNKS, "text_config": "sdpa"})
    return model


Collate = Callable[..., dict[str, Tensor]]


@pytest.fixture(scope="module")
def collate(model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings) -> Collate:
    """A batch, as in one of several processes."""

    def made(samples: Sequence[ClipSample], packing: bool) -> dict[str, Tensor]:
        return collator_for(model, tokenizer, settings, True, packing)(samples)

    return made


@pytest.fixture
def lengths(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[int]]]:
    """The text is attended to by flash-attn, of which only the kernels are others.

    What is yielded fills with the lengths that they are called with.
    """
    called: list[list[int]] = []

    def whole(
        q: Tensor, k: Tensor, v: Tensor, softmax_scale: float, causal: bool, **_: Any
    ) -> Tensor:
        called.append([q.shape[1]] * len(q))
        return attended(q, k, v, softmax_scale, causal)

    def parts(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: Tensor,
        max_seqlen_k: Tensor,
        softmax_scale: float,
        causal: bool,
    ) -> Tensor:
        counts = cu_seqlens_q.diff().tolist()
        assert torch.equal(cu_seqlens_q, cu_seqlens_k)
        assert max(counts) == max_seqlen_q == max_seqlen_k
        called.append(counts)
        cut = zip(*(its.split(counts) for its in (q, k, v)), strict=True)
        each = [attended(*(its[None] for its in one), softmax_scale, causal)[0] for one in cut]
        return torch.cat(each)

    transformers: Any = modeling_flash_attention_utils
    monkeypatch.setattr(transformers, "_loaded_implementation", None)
    monkeypatch.setattr(transformers, "_lazy_imports", lambda *_, **__: (whole, parts, *[None] * 3))
    model.config.text_config._attn_implementation = FLASH
    yield called
    model.config.text_config._attn_implementation = "sdpa"


def attended(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Tensor:
    """(clips, tokens, heads, head_dim), as flash-attn has it."""
    heads = [its.transpose(1, 2) for its in (q, k, v)]
    out = F.scaled_dot_product_attention(*heads, scale=scale, is_causal=causal, enable_gqa=True)
    return out.transpose(1, 2)


def learnt(model: Any, batch: dict[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
    """The loss, with every token of the batch weighed alike, and all gradients."""
    tokens = (batch["labels"] != IGNORED).sum()
    loss = model(**batch, num_items_in_batch=tokens.clamp(min=1), use_cache=False).loss
    loss.backward()
    gradients = {name: its.grad for name, its in model.named_parameters()}
    model.zero_grad()
    return loss.item(), gradients


def assert_same(
    one: tuple[float, dict[str, Tensor]], other: tuple[float, dict[str, Tensor]]
) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for name, its in one[1].items():
        assert (its - other[1][name]).abs().max() < 1e-6 + 1e-4 * its.abs().max(), name


def batches(settings: Settings) -> dict[str, list[ClipSample]]:
    """Clips of different lengths, from the start and from the middle of a stream."""
    start, middle, late = clip(0, 4, settings), clip(6, 8, settings), clip(20, 23, settings)
    silent = replace(late, rounds=tuple(replace(its, text="") for its in late.rounds))
    known = replace(middle.rounds[1], question="What was that?", answer="A star.")
    unseen = ClipSample((ClipRound(7, 8, (), WORLD.caption(7)),))
    return {
        "narration": [middle, start, late],
        "silence": [start, silent, middle],
        "a-remembered-question": [late, replace(middle, rounds=(middle.rounds[0], known))],
        "one-question-each": [replace(its, asked=ONE) for its in (start, middle)],
        "several-questions": [middle, replace(start, asked=SEVERAL), replace(late, asked=SEVERAL)],
        "none-can-be-read-but-one": [NOTHING, middle, NOTHING],
        "black-frame": [unseen, replace(unseen, asked=ONE), NOTHING],
        "black-frame-and-several-questions": [replace(unseen, asked=SEVERAL), unseen],
        "alone": [start],
    }


BATCHES = batches(Settings())


@pytest.fixture
def clip_by_clip(model: Any) -> Iterator[None]:
    model.config.text_config._attn_implementation = CLIP_BY_CLIP
    yield
    model.config.text_config._attn_implementation = "sdpa"


@pytest.mark.parametrize("attention", ["sdpa", "clip_by_clip"])
@pytest.mark.parametrize("case", BATCHES)
def test_a_packed_batch_teaches_what_the_padded_one_does(
    model: Any,
    collate: Collate,
    request: pytest.FixtureRequest,
    case: str,
    attention: str,
) -> None:
    samples = BATCHES[case]
    padded, packed = (collate(samples, packing) for packing in (False, True))
    assert packed["input_ids"].numel() <= padded["input_ids"].numel()
    assert ("attention_mask" in packed) == ("several" in case)
    expected = learnt(model, padded)
    if attention == "clip_by_clip":
        request.getfixturevalue("clip_by_clip")
        assert_same(learnt(model, padded), expected)
    assert_same(learnt(model, packed), expected)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("case", BATCHES)
def test_clips_teach_the_same_with_flash_attention(
    model: Any,
    collate: Collate,
    request: pytest.FixtureRequest,
    case: str,
    packing: bool,
) -> None:
    samples = BATCHES[case]
    expected = learnt(model, collate(samples, False))
    lengths: list[list[int]] = request.getfixturevalue("lengths")
    assert_same(learnt(model, collate(samples, packing)), expected)
    # SDPA has taken its place where clips branch.
    assert bool(lengths) == ("several" not in case)


def test_flash_attention_is_told_where_each_packed_clip_begins(
    model: Any, collate: Collate, lengths: list[list[int]]
) -> None:
    samples = BATCHES["narration"]
    learnt(model, collate(samples, True))
    own = [collate([its], True)["input_ids"].shape[1] for its in samples]
    assert lengths == [own] * model.config.text_config.num_hidden_layers


def test_a_packed_clip_stands_where_it_does_alone(collate: Collate) -> None:
    samples = BATCHES["narration"]
    alone = [collate([its], False) for its in samples]
    packed = collate(samples, True)
    for name in ("input_ids", "labels"):
        assert torch.equal(packed[name], torch.cat([its[name] for its in alone], dim=1))
    places = torch.cat([its["position_ids"] for its in alone], dim=2)
    assert torch.equal(packed["position_ids"][1:], places)
    counts = [its["input_ids"].shape[1] for its in alone]
    assert packed["position_ids"][0, 0].tolist() == [n for count in counts for n in range(count)]
    patches = torch.cat([its["pixel_values_videos"] for its in alone])
    assert torch.equal(packed["pixel_values_videos"], patches)


@pytest.mark.parametrize("packing", [False, True])
def test_clips_whose_frames_differ_in_size_teach_as_they_do_without_a_function_of_our_own(
    model: Any, collate: Collate, settings: Settings, packing: bool
) -> None:
    """Such as those of two cameras."""
    small = clip(0, 3, settings)
    wide = (np.full((56, 112, 3), 90, np.uint8),)
    large = replace(small, rounds=tuple(replace(its, images=wide) for its in small.rounds))
    model.set_attn_implementation({"vision_config": "sdpa", "text_config": "sdpa"})
    expected = learnt(model, collate([small, large], False))
    model.set_attn_implementation({"vision_config": EQUAL_CHUNKS, "text_config": "sdpa"})
    batch = collate([small, large], packing)
    assert len(set(batch["video_grid_thw"].prod(1).tolist())) == 2
    assert_same(learnt(model, batch), expected)


@pytest.mark.parametrize("packing", [False, True])
def test_only_clips_with_several_questions_need_a_mask(collate: Collate, packing: bool) -> None:
    for case in ("narration", "one-question-each", "black-frame"):
        assert "attention_mask" not in collate(BATCHES[case], packing)
    samples = BATCHES["several-questions"]
    batch = collate(samples, packing)
    tokens = batch["input_ids"].shape[1]
    assert batch["attention_mask"].shape == (1 if packing else 3, 1, tokens, tokens)
    assert batch["attention_mask"].dtype == torch.bool


def test_a_question_that_is_alone_is_learnt_alike_with_and_without_a_mask(
    model: Any, collate: Collate
) -> None:
    """What a mask would say of it: a row's token sees all before it that isn't padding."""
    batch = collate(BATCHES["one-question-each"], False)
    length = batch["input_ids"].shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril().expand(2, 1, -1, -1)
    assert_same(learnt(model, batch), learnt(model, {**batch, "attention_mask": causal}))


def test_positions_are_integers_unless_frames_are_too_many_for_that(
    model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    """Integers stay as they are where DeepSpeed and FSDP make bfloat16 of what isn't."""
    sample = clip(0, 4, settings)
    four = replace(sample, rounds=tuple(replace(r, images=r.images * 2) for r in sample.rounds))
    whole = collator_for(model, tokenizer, settings)([sample])["position_ids"]
    faster = collator_for(model, tokenizer, settings.updated({"fps": 8.0}))([four])["position_ids"]
    assert whole.dtype == torch.int64
    assert faster.dtype == torch.float32
    assert (faster % 1 == 0.5).any()


@pytest.mark.parametrize("sharding", ["zero2", "zero3", "fsdp"])
def test_positions_that_sharding_would_round_are_refused(
    model: Any, tiny: Recipe, sharding: str
) -> None:
    training = TrainConfig(sharding=sharding, bfloat16=True)
    for fps, fits in ((1.0, True), (2.0, True), (4.0, True), (3.0, False), (8.0, False)):
        recipe = replace(tiny, training=training, streaming={**tiny.streaming, "fps": fps})
        with nullcontext() if fits else pytest.raises(ConfigError, match=sharding):
            check_positions(recipe, VisionSpec.of(model.config, recipe.settings.model))
        for harmless in (TrainConfig(sharding=sharding), TrainConfig(bfloat16=True)):
            check_positions(
                replace(recipe, training=harmless),
                VisionSpec.of(model.config, recipe.settings.model),
            )


def test_a_recipe_that_packs_learns_what_one_that_pads_does(
    tiny: Recipe, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """In the steps of a run; clips of different lengths, all of them without a mask."""
    clips = replace(tiny.clips, question=0.0, montage=0.0)
    attention, rows, learnt = [], [], []
    for packing in (False, True):
        training = TrainConfig(steps=3, batch_clips=3, packing=packing, log_every=1)
        torch.manual_seed(0)
        output = tmp_path / str(packing)
        output.mkdir()
        its = replace(tiny, clips=clips, training=training)
        trainer = trainer_for(its, new_model(tiny.model, tokenizer), tokenizer, output, ALONE)
        assert isinstance(trainer.model, PreTrainedModel)
        attention.append(trainer.model.config.text_config._attn_implementation)
        rows.append([len(batch["input_ids"]) for batch in trainer.get_train_dataloader()])
        trainer.train()
        learnt.append(losses(output))
    assert rows == [[3] * 3, [1] * 3]
    assert attention == [CLIP_BY_CLIP, CLIP_BY_CLIP]
    assert learnt[1] == pytest.approx(learnt[0], rel=1e-4)
