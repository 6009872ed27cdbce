"""Clips packed into one row have the loss and gradients of padded rows, with any attention."""

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
from streamingvlm_training.attention import CLIP_BY_CLIP, EQUAL_CHUNKS, FLASH, register_attention
from streamingvlm_training.datasets.clips import EMPTY_SAMPLE
from streamingvlm_training.packing import IGNORED
from streamingvlm_training.recipe import Recipe, TrainConfig
from streamingvlm_training.samples import ClipRound, ClipSample
from streamingvlm_training.tiny_model import new_model
from streamingvlm_training.trainer import check_positions, collator_for, trainer_for

from .runs import losses
from .world_samples import WORLD, world_clip

ONE = (("What is on the table?", "A red star."),)
SEVERAL = (*ONE, ("Where?", "There."), ("How many things are there?", "Two."))


@pytest.fixture(scope="module")
def model(tiny: Recipe, tokenizer: PreTrainedTokenizerFast) -> Any:
    """A model with the attention that training on a CPU uses."""
    register_attention()
    torch.manual_seed(0)
    model = new_model(tiny.model, tokenizer).eval()
    model.set_attn_implementation({"vision_config": EQUAL_CHUNKS, "text_config": "sdpa"})
    return model


Collate = Callable[..., dict[str, Tensor]]


@pytest.fixture(scope="module")
def collate(model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings) -> Collate:
    """A function that makes a batch, as in one of several processes."""

    def collate(samples: Sequence[ClipSample], packing: bool) -> dict[str, Tensor]:
        collator = collator_for(
            model, tokenizer, settings=settings, always_sees=True, packing=packing
        )
        return collator(samples)

    return collate


@pytest.fixture
def lengths(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[int]]]:
    """Lengths with which flash-attn's kernels are called; SDPA replaces the kernels."""
    lengths: list[list[int]] = []

    def flash_attn(
        q: Tensor, k: Tensor, v: Tensor, softmax_scale: float, causal: bool, **_: Any
    ) -> Tensor:
        lengths.append([q.shape[1]] * len(q))
        return attend(q, k, v, scale=softmax_scale, causal=causal)

    def flash_attn_varlen(
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
        lengths.append(counts)
        clips = zip(*(tensor.split(counts) for tensor in (q, k, v)), strict=True)
        return torch.cat(
            [
                attend(*(tensor[None] for tensor in clip), scale=softmax_scale, causal=causal)[0]
                for clip in clips
            ]
        )

    transformers: Any = modeling_flash_attention_utils
    monkeypatch.setattr(transformers, "_loaded_implementation", None)
    monkeypatch.setattr(
        transformers, "_lazy_imports", lambda *_, **__: (flash_attn, flash_attn_varlen, *[None] * 3)
    )
    model.config.text_config._attn_implementation = FLASH
    yield lengths
    model.config.text_config._attn_implementation = "sdpa"


def attend(q: Tensor, k: Tensor, v: Tensor, *, scale: float, causal: bool) -> Tensor:
    """Attend in flash-attn's layout, (clips, tokens, heads, head_dim)."""
    heads = [tensor.transpose(1, 2) for tensor in (q, k, v)]
    out = F.scaled_dot_product_attention(*heads, scale=scale, is_causal=causal, enable_gqa=True)
    return out.transpose(1, 2)


def loss_and_gradients(model: Any, batch: dict[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
    """Return the loss, with equal weights for all tokens, and all gradients."""
    tokens = (batch["labels"] != IGNORED).sum()
    loss = model(**batch, num_items_in_batch=tokens.clamp(min=1), use_cache=False).loss
    loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad()
    return loss.item(), gradients


def assert_same(
    one: tuple[float, dict[str, Tensor]], other: tuple[float, dict[str, Tensor]]
) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for name, gradient in one[1].items():
        difference = (gradient - other[1][name]).abs().max()
        assert difference < 1e-6 + 1e-4 * gradient.abs().max(), name


def batches(settings: Settings) -> dict[str, list[ClipSample]]:
    """Clips of different lengths, from the start and from the middle of a stream."""
    start, middle, late = (
        world_clip(0, 4, settings=settings),
        world_clip(6, 8, settings=settings),
        world_clip(20, 23, settings=settings),
    )
    silent = replace(late, rounds=tuple(replace(round, text="") for round in late.rounds))
    known = replace(middle.rounds[1], question="What was that?", answer="A star.")
    without_frames = ClipSample((ClipRound(7, 8, (), WORLD.caption(7)),))
    return {
        "narration": [middle, start, late],
        "silence": [start, silent, middle],
        "a-remembered-question": [late, replace(middle, rounds=(middle.rounds[0], known))],
        "one-question-each": [replace(clip, questions=ONE) for clip in (start, middle)],
        "several-questions": [
            middle,
            replace(start, questions=SEVERAL),
            replace(late, questions=SEVERAL),
        ],
        "none-can-be-read-but-one": [EMPTY_SAMPLE, middle, EMPTY_SAMPLE],
        "black-frame": [without_frames, replace(without_frames, questions=ONE), EMPTY_SAMPLE],
        "black-frame-and-several-questions": [
            replace(without_frames, questions=SEVERAL),
            without_frames,
        ],
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
def test_a_packed_batch_has_the_gradients_of_a_padded_one(
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
    expected = loss_and_gradients(model, padded)
    if attention == "clip_by_clip":
        request.getfixturevalue("clip_by_clip")
        assert_same(loss_and_gradients(model, padded), expected)
    assert_same(loss_and_gradients(model, packed), expected)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("case", BATCHES)
def test_flash_attention_gives_the_same_gradients(
    model: Any,
    collate: Collate,
    request: pytest.FixtureRequest,
    case: str,
    packing: bool,
) -> None:
    samples = BATCHES[case]
    expected = loss_and_gradients(model, collate(samples, False))
    lengths: list[list[int]] = request.getfixturevalue("lengths")
    assert_same(loss_and_gradients(model, collate(samples, packing)), expected)
    # Where clips branch, SDPA replaces it.
    assert bool(lengths) == ("several" not in case)


def test_flash_attention_receives_the_length_of_each_packed_clip(
    model: Any, collate: Collate, lengths: list[list[int]]
) -> None:
    samples = BATCHES["narration"]
    loss_and_gradients(model, collate(samples, True))
    clip_lengths = [collate([clip], True)["input_ids"].shape[1] for clip in samples]
    assert lengths == [clip_lengths] * model.config.text_config.num_hidden_layers


def test_a_packed_clip_has_the_positions_that_it_has_alone(collate: Collate) -> None:
    samples = BATCHES["narration"]
    alone = [collate([clip], False) for clip in samples]
    packed = collate(samples, True)
    for name in ("input_ids", "labels"):
        assert torch.equal(packed[name], torch.cat([batch[name] for batch in alone], dim=1))
    positions = torch.cat([batch["position_ids"] for batch in alone], dim=2)
    assert torch.equal(packed["position_ids"][1:], positions)
    counts = [batch["input_ids"].shape[1] for batch in alone]
    assert packed["position_ids"][0, 0].tolist() == [n for count in counts for n in range(count)]
    patches = torch.cat([batch["pixel_values_videos"] for batch in alone])
    assert torch.equal(packed["pixel_values_videos"], patches)


@pytest.mark.parametrize("packing", [False, True])
def test_frames_of_different_sizes_give_the_same_gradients_as_transformers_attention(
    model: Any, collate: Collate, settings: Settings, packing: bool
) -> None:
    """Two cameras may differ in size."""
    small = world_clip(0, 3, settings=settings)
    wide = (np.full((56, 112, 3), 90, np.uint8),)
    large = replace(small, rounds=tuple(replace(round, images=wide) for round in small.rounds))
    model.set_attn_implementation({"vision_config": "sdpa", "text_config": "sdpa"})
    expected = loss_and_gradients(model, collate([small, large], False))
    model.set_attn_implementation({"vision_config": EQUAL_CHUNKS, "text_config": "sdpa"})
    batch = collate([small, large], packing)
    assert len(set(batch["video_grid_thw"].prod(1).tolist())) == 2
    assert_same(loss_and_gradients(model, batch), expected)


@pytest.mark.parametrize("packing", [False, True])
def test_only_clips_with_several_questions_need_a_mask(collate: Collate, packing: bool) -> None:
    for case in ("narration", "one-question-each", "black-frame"):
        assert "attention_mask" not in collate(BATCHES[case], packing)
    samples = BATCHES["several-questions"]
    batch = collate(samples, packing)
    tokens = batch["input_ids"].shape[1]
    assert batch["attention_mask"].shape == (1 if packing else 3, 1, tokens, tokens)
    assert batch["attention_mask"].dtype == torch.bool


def test_a_single_question_has_the_same_gradients_with_and_without_a_mask(
    model: Any, collate: Collate
) -> None:
    """A mask would let a token see all tokens before it that aren't padding."""
    batch = collate(BATCHES["one-question-each"], False)
    length = batch["input_ids"].shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril().expand(2, 1, -1, -1)
    assert_same(
        loss_and_gradients(model, batch),
        loss_and_gradients(model, {**batch, "attention_mask": causal}),
    )


def test_positions_are_integers_unless_the_frame_rate_makes_fractions(
    model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    """DeepSpeed and FSDP convert other positions to bfloat16."""
    sample = world_clip(0, 4, settings=settings)
    four = replace(sample, rounds=tuple(replace(r, images=r.images * 2) for r in sample.rounds))
    slow = collator_for(model, tokenizer, settings=settings)([sample])["position_ids"]
    fast = collator_for(model, tokenizer, settings=settings.updated({"fps": 8.0}))([four])[
        "position_ids"
    ]
    assert slow.dtype == torch.int64
    assert fast.dtype == torch.float32
    assert (fast % 1 == 0.5).any()


@pytest.mark.parametrize("sharding", ["zero2", "zero3", "fsdp"])
def test_positions_that_sharding_would_round_are_rejected(
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


def test_a_run_with_packing_has_the_losses_of_one_with_padding(
    tiny: Recipe, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """The clips have different lengths, and none needs a mask."""
    clips = replace(tiny.clips, question=0.0, montage=0.0)
    attention, rows, run_losses = [], [], []
    for packing in (False, True):
        training = TrainConfig(steps=3, batch_clips=3, packing=packing, log_every=1)
        torch.manual_seed(0)
        output = tmp_path / str(packing)
        output.mkdir()
        recipe = replace(tiny, clips=clips, training=training)
        trainer = trainer_for(
            recipe, new_model(tiny.model, tokenizer), tokenizer=tokenizer, output=output, rank=ALONE
        )
        assert isinstance(trainer.model, PreTrainedModel)
        attention.append(trainer.model.config.text_config._attn_implementation)
        rows.append([len(batch["input_ids"]) for batch in trainer.get_train_dataloader()])
        trainer.train()
        run_losses.append(losses(output))
    assert rows == [[3] * 3, [1] * 3]
    assert attention == [CLIP_BY_CLIP, CLIP_BY_CLIP]
    assert run_losses[1] == pytest.approx(run_losses[0], rel=1e-4)
