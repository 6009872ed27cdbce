"""Training clips of recordings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.recordings.recording import open_recording
from streamingvlm_ros.types import Chunk
from streamingvlm_training.datasets.clips import EMPTY_SAMPLE, RecordedClips, clip_of
from streamingvlm_training.datasets.cutting import CutConfig, cut
from streamingvlm_training.datasets.record import ClipRecord, Exchange, Word
from streamingvlm_training.packing import IGNORED
from streamingvlm_training.recipe import Recipe
from streamingvlm_training.tiny_model import new_model
from streamingvlm_training.trainer import collator_for

from ..support.world_bags import WORLD, film
from .recordings import load
from .world_samples import ForcedSampler

SECONDS = 20


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of the world with captions beside it."""
    folder = tmp_path_factory.mktemp("bags")
    film(folder / "world", range(SECONDS))
    lines = ({"start_s": n, "end_s": n + 1, "text": WORLD.caption(n)} for n in range(SECONDS))
    (folder / "world.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder / "world"


@pytest.fixture(scope="module")
def model(tiny: Recipe, tokenizer: PreTrainedTokenizerFast) -> Any:
    return new_model(tiny.model, tokenizer).eval()


@pytest.mark.parametrize("until", [4, 9, 20])
def test_a_recorded_clip_has_the_context_of_the_engine_at_its_end(
    bag: Path, model: Any, tokenizer: PreTrainedTokenizerFast, settings: Settings, until: int
) -> None:
    """Token ids, positions and labels, for the frames and words of the same bag."""
    engine = StreamingEngine(LoadedModel(model, tokenizer), settings)
    stream = engine.open_stream()
    newline, spoken_ids = engine.model.chat_format.encode("\n"), list[int]()
    for n in range(until):
        turn = engine.model.chat_format.assistant_turn(n, WORLD.caption(n))
        spoken_ids += [id for segment in turn for id in segment.ids if id not in newline]
    ForcedSampler(engine, spoken_ids)
    with open_recording(bag) as recording:
        start_ns = recording.start_ns(settings.frames)
        for chunk in recording.chunks(settings.frames, (0.0, until)):
            assert isinstance(chunk, Chunk)
            begin_ns, end_ns = chunk.start_ns - start_ns, chunk.end_ns - start_ns
            stream.step(replace(chunk, start_ns=begin_ns, end_ns=end_ns))

    window = settings.window.text_rounds
    config = CutConfig(clip_s=float(window), overlap_s=window - 1.0)
    clips = cut(load(bag, settings.frames), config, settings=settings)
    (record,) = [clip for clip in clips if clip.end_s == until]
    sequence = collator_for(model, tokenizer, settings=settings).sequence(
        clip_of(record, settings.frames)
    )
    assert sequence.ledger.ids[:-1] == stream.context_ids
    positions = engine.model.positions(stream.ledger)
    assert (sequence.positions[:, : positions.shape[1]] == positions).all()
    learnt = [label for label in sequence.labels if label != IGNORED]
    spoken = [id for n in range(until - window, until) for id in _spoken_ids(engine, n)]
    assert learnt == spoken


def _spoken_ids(engine: StreamingEngine, second: int) -> list[int]:
    newline = engine.model.chat_format.encode("\n")
    turn = engine.model.chat_format.assistant_turn(second, WORLD.caption(second))
    return [id for segment in turn for id in segment.ids if id not in newline]


def test_words_belong_to_the_round_in_which_they_end(bag: Path, settings: Settings) -> None:
    words = (Word(3.9, 4.2, "late"), Word(3.0, 4.0, " early "), Word(4.2, 4.9, "words"))
    record = ClipRecord(bag, 3.0, 5.5, (*words, Word(5.0, 5.4, "lost")))
    assert [round_.text for round_ in clip_of(record, settings.frames).rounds] == [
        "early",
        "late words",
        "lost",
    ]


def test_a_clip_may_begin_within_a_second(bag: Path, settings: Settings) -> None:
    rounds = clip_of(ClipRecord(bag, 3.25, 6.25), settings.frames).rounds
    assert [(round_.start_s, round_.end_s) for round_ in rounds] == [
        (3.25, 4.25),
        (4.25, 5.25),
        (5.25, 6.25),
    ]


def test_a_question_is_in_the_round_of_its_time_and_a_second_one_in_the_next(
    bag: Path, settings: Settings
) -> None:
    asked = (Exchange(4.5, "Now?", "Now."), Exchange(4.9, "Then?", "Then."))
    record = ClipRecord(bag, 3.0, 7.0, exchanges=asked, asked=(Exchange(7.0, "End?", "End."),))
    sample = clip_of(record, settings.frames)
    assert [round_.question for round_ in sample.rounds] == ["", "Now?", "Then?", ""]
    assert sample.questions == (("End?", "End."),)


def test_an_unreadable_clip_is_skipped_counted_and_not_replaced(
    bag: Path, settings: Settings, tmp_path: Path
) -> None:
    good, missing = ClipRecord(bag, 0.0, 3.0), ClipRecord(tmp_path / "gone.mp4", 0.0, 3.0)
    short = ClipRecord(bag, SECONDS - 1.0, SECONDS + 5.0, origin="clip 3")
    clips = RecordedClips(
        [[good, missing], [short]], settings, skipped_file=tmp_path / "skipped.jsonl"
    )
    assert [clips[n] is EMPTY_SAMPLE for n in range(len(clips))] == [False, True, True]
    lines = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert [line["clip"] for line in lines] == ["", "clip 3"]
    assert "gone.mp4" in lines[0]["why"]
    assert "at least 2" in lines[1]["why"]


def test_fewer_than_two_rounds_are_no_clip(bag: Path, settings: Settings) -> None:
    with pytest.raises(DataError, match=r"has 1 whole chunks of frames from 3.0 to 4.0 s"):
        clip_of(ClipRecord(bag, 3.0, 4.0), settings.frames)
