"""Clips of the synthetic world: kinds, starts and questions."""

from __future__ import annotations

import pytest

from streamingvlm_ros.demo.questions import ABSENT
from streamingvlm_ros.errors import ConfigError
from streamingvlm_training.recipe import Recipe
from streamingvlm_training.world_clips import ClipConfig, WorldClips


def world_clips(count: int, clips: ClipConfig, *, tiny: Recipe, group_size: int = 1) -> WorldClips:
    return WorldClips(count, 0, clips=clips, settings=tiny.settings, group_size=group_size)


def test_clips_begin_with_the_stream_or_within_it(tiny: Recipe) -> None:
    clips = world_clips(60, ClipConfig(rounds=3, side_px=28), tiny=tiny)
    starts = {clips[i].rounds[0].start_s: clips[i] for i in range(60)}
    assert min(starts) == 0
    assert max(starts) > 1000
    for start, sample in starts.items():
        assert bool(sample.instruction) == (start == 0)
        assert bool(sample.previous) == (start > 0)


def test_a_clip_of_one_number_is_always_the_same(tiny: Recipe) -> None:
    one, two = (world_clips(9, tiny.clips, tiny=tiny) for _ in range(2))
    assert two[7].rounds[0].images[0].tolist() == one[7].rounds[0].images[0].tolist()
    assert [r.text for r in two[7].rounds] == [r.text for r in one[7].rounds]
    assert [r.text for r in one[6].rounds] != [r.text for r in one[7].rounds]


def test_clips_of_every_kind_have_questions_unless_the_share_is_zero(tiny: Recipe) -> None:
    config = ClipConfig(rounds=9, side_px=28, question=1.0, recent=0.3, moments=0.3)
    clips = [world_clips(30, config, tiny=tiny)[i] for i in range(30)]
    kinds = {
        ("images" if c.image_qa else "moments" if c.rounds[0].context_only else "live")
        for c in clips
    }
    assert kinds == {"images", "moments", "live"}
    assert all(clip.questions for clip in clips)
    silent = world_clips(30, ClipConfig(rounds=3, side_px=28, question=0.0), tiny=tiny)
    assert not any(silent[i].questions for i in range(30))


def test_a_remembered_question_is_in_a_round_after_the_first(tiny: Recipe) -> None:
    config = ClipConfig(rounds=4, side_px=28, remembered=1.0, montage=0.0)
    for clip in (world_clips(9, config, tiny=tiny)[i] for i in range(9)):
        (index,) = (index for index, round in enumerate(clip.rounds) if round.question)
        assert index > 0
        assert clip.rounds[index].answer


def test_clips_of_a_batch_are_of_one_kind_and_batches_are_of_every_kind(tiny: Recipe) -> None:
    config = ClipConfig(rounds=3, side_px=28, recent=0.5)
    clips = world_clips(60, config, tiny=tiny, group_size=3)
    batches = [{clips[3 * n + i].image_qa for i in range(3)} for n in range(20)]
    assert all(len(kinds) == 1 for kinds in batches)
    assert set().union(*batches) == {True, False}


def test_colour_clips_ask_about_two_shapes_of_different_colours_and_an_absent_one(
    tiny: Recipe,
) -> None:
    clips = world_clips(20, ClipConfig(side_px=28, colours=1.0), tiny=tiny)
    for clip in (clips[i] for i in range(20)):
        assert clip.image_qa
        questions, answers = zip(*clip.questions, strict=True)
        assert all(question.startswith("What colour is the ") for question in questions)
        assert len(set(questions)) == len(set(answers)) == 3
        assert answers.count(ABSENT) == 1


def test_no_clip_asks_the_same_question_twice(tiny: Recipe) -> None:
    config = ClipConfig(rounds=3, side_px=28, question=1.0, recent=0.3, narration_only=0.3)
    clips = world_clips(30, config, tiny=tiny)
    for clip in (clips[i] for i in range(30)):
        assert len(set(clip.questions)) == len(clip.questions)


def test_shares_that_add_up_to_more_than_one_are_rejected() -> None:
    with pytest.raises(ConfigError, match="together at most 1"):
        ClipConfig(recent=0.5, moments=0.3, narration_only=0.3)
