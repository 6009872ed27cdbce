"""A clip's batch: the sequence that the engine streams, and labels on what is said alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from streamingvlm_ros.config import SamplingConfig, Settings
from streamingvlm_ros.demo.world import World
from streamingvlm_ros.engine.dialogue import Dialogue
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.engine.positions import positions
from streamingvlm_ros.engine.sampler import Sampler
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame
from training.collate import IGNORED, Collator
from training.dataset import ClipConfig, WorldClips
from training.recipe import Recipe
from training.samples import ClipRound, ClipSample
from training.scratch import new_model
from training.sft import collator_for

WORLD = World(3)


class Reciting(Sampler):
    """Says what it is given, whatever the model thinks."""

    def __init__(self, vocabulary: int, ids: list[int]) -> None:
        super().__init__(vocabulary, 0, torch.device("cpu"))
        self._ids = iter(ids)

    def choose(self, logits: Tensor, config: SamplingConfig) -> Tensor:
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
        for segment in engine.dialogue.assistant_turn(n, WORLD.caption(n)):
            said += [id for id in segment.ids if id not in engine.dialogue.encode("\n")]
    stream.sampler = Reciting(len(tokenizer), said)
    for n in range(streamed):
        stream.step(Chunk(frames(n), n * NS_PER_S, (n + 1) * NS_PER_S))

    first = max(0, streamed - settings.window.text_rounds)
    trained = collator.sequence(clip(first, streamed, settings)).ledger
    assert trained.ids[:-1] == stream.context_ids
    held = positions(stream.ledger, engine.tokens_per_second)
    assert (positions(trained, engine.tokens_per_second)[:, : held.shape[1]] == held).all()


def test_labels_are_what_the_assistant_says_up_to_the_end_of_its_turn(
    collator: Collator, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    asked = ClipRound(3, 4, question="What is on the table?", answer="A red star.")
    sample = clip(0, 4, settings)
    sample = ClipSample((*sample.rounds, asked), sample.previous, sample.instruction)
    batch = collator([sample])
    assert "Time=3.0-4.0s What is on the table?<|im_end|>" in tokenizer.decode(
        batch["input_ids"][0]
    )
    labels = batch["labels"][0]
    spoken = "".join(
        (" " + text if (text := WORLD.caption(n)) else "") + " ...<|im_end|>" for n in range(4)
    )
    said = [int(label) for label in labels if label != IGNORED]
    assert tokenizer.decode(said) == spoken + "A red star.\n ...<|im_end|>"


def test_every_label_is_the_token_at_its_place(collator: Collator, settings: Settings) -> None:
    batch = collator([clip(0, 4, settings), clip(7, 9, settings)])
    learnt = batch["labels"] != IGNORED
    assert learnt.any(dim=1).all()
    assert (batch["labels"][learnt] == batch["input_ids"][learnt]).all()
    assert batch["attention_mask"][learnt].all()


def test_padding_changes_no_clips_loss(model: Any, collator: Collator, settings: Settings) -> None:
    short, long = clip(6, 8, settings), clip(0, 4, settings)
    with torch.inference_mode():
        logits = model(**collator([short])).logits[0]
        padded = model(**collator([short, long])).logits[0]
    assert (padded[: len(logits)] - logits).abs().max() < 1e-4


def test_a_batch_holds_the_patches_of_all_its_frames(
    collator: Collator, settings: Settings
) -> None:
    batch = collator([clip(0, 4, settings), clip(7, 9, settings)])
    assert batch["video_grid_thw"].tolist() == [[1, 4, 4]] * 6
    assert batch["pixel_values_videos"].shape == (6 * 16, 3 * 2 * 14 * 14)
    assert batch["position_ids"].shape == (3, *batch["input_ids"].shape)
    assert batch["position_ids"].dtype == torch.float32


def test_previous_text_is_cut_to_sink_and_window(
    collator: Collator, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    dialogue = Dialogue(tokenizer)
    said = [id for n in range(20) if (c := WORLD.caption(n)) for id in dialogue.encode(" " + c)]
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
