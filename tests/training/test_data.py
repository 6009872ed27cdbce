"""Missing, empty and broken training data, before and during training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import ConfigError, DataError
from streamingvlm_training.data import check_paths, training_clips, validation_clips
from streamingvlm_training.datasets.clips import EMPTY_SAMPLE, RecordedClips
from streamingvlm_training.datasets.conversations import line_of, write_conversations
from streamingvlm_training.datasets.record import ClipRecord, Word
from streamingvlm_training.prepare import main
from streamingvlm_training.recipe import DataConfig, Recipe, read_recipe

from ..support.world_bags import film
from .recordings import annotate, frame_times, run_prepare, write_video
from .runs import annotated_bag


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bag, a video without words, and one that is broken."""
    folder = tmp_path_factory.mktemp("bags")
    annotated_bag(folder / "good", range(6))
    write_video(folder / "wordless.mp4", frame_times((0, 4)))
    annotate(folder / "broken.mp4", range(4)).write_bytes(b"no video")
    return folder


def recipe_for(**data: Any) -> Recipe:
    return Recipe(data=DataConfig(**{name: tuple(map(str, paths)) for name, paths in data.items()}))


def skipped_lines(output: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (output / "skipped.jsonl").read_text().splitlines()]


def missing_clips(folder: Path, *seconds: int) -> list[ClipRecord]:
    path = folder / "missing.mp4"
    return [ClipRecord(path, n, n + 3.0, origin=f"{path}, {n} s") for n in seconds]


def test_an_empty_validation_file_means_no_validation(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "validation.jsonl"
    empty.write_text("")
    recipe = recipe_for(train=[bags / "good"], validation=[empty])
    assert validation_clips(recipe, tmp_path) is None
    none_left = recipe_for(train=[empty], validation=[bags / "broken.mp4"])
    assert validation_clips(none_left, tmp_path) is None
    path = tmp_path / "recipe.yaml"
    path.write_text(f"start: demo\ndata: {{train: [{bags / 'good'}], validation: [{empty}]}}")
    assert main([str(path)]) == 0
    assert "nothing to validate with\n" in capsys.readouterr().out


def test_a_broken_recording_is_left_out_and_the_others_are_trained_on(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_for(train=[bags], validation=[bags])
    clips = training_clips(recipe, tmp_path)
    assert len(clips) == len(training_clips(recipe_for(train=[bags / "good"]), tmp_path))  # type: ignore[arg-type]
    assert validation_clips(recipe, tmp_path)
    assert [line["clip"] for line in skipped_lines(tmp_path)] == [
        str(bags / "broken.mp4"),
        str(bags / "wordless.mp4"),
    ]
    errors = capsys.readouterr().err
    assert f"left out {bags / 'broken.mp4'}: " in errors
    assert f"left out {bags / 'wordless.mp4'}: {bags / 'wordless.mp4'} has no labels" in errors


def test_training_on_broken_recordings_alone_is_an_error(bags: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no clip to train on in .*; left out: .*wordless\.mp4 has no labels"
    ):
        training_clips(recipe_for(train=[bags / "wordless.mp4"]), tmp_path)


def test_settings_that_allow_no_clips_are_not_blamed_on_a_recording(
    bags: Path, tmp_path: Path
) -> None:
    recipe = Recipe(data=DataConfig((str(bags),)), streaming={"chunk_seconds": 20.0})
    with pytest.raises(ConfigError, match="less than two rounds"):
        training_clips(recipe, tmp_path)


def test_prepare_lists_every_broken_recording_and_continues(
    bags: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = run_prepare(bags, capsys)
    assert code == 1
    assert f"left out: {bags / 'broken.mp4'}: " in out
    assert f"left out: {bags / 'wordless.mp4'}: {bags / 'wordless.mp4'} has no labels" in out
    assert "The first clip" in out


def test_unreadable_clips_alone_are_an_error_before_training(
    tmp_path: Path, settings: Settings
) -> None:
    clips = RecordedClips(
        [missing_clips(tmp_path, *range(30))], settings, skipped_file=tmp_path / "skipped.jsonl"
    )
    with pytest.raises(DataError, match=r"none of 20 clips .*missing\.mp4.*skipped\.jsonl"):
        clips.try_some()
    assert clips.skipped == len(skipped_lines(tmp_path)) == 20


def test_one_readable_clip_is_enough(bags: Path, tmp_path: Path, settings: Settings) -> None:
    readers = [missing_clips(tmp_path, 1, 2), [ClipRecord(bags / "good", 0.0, 3.0)]]
    clips = RecordedClips(readers, settings, skipped_file=tmp_path / "skipped.jsonl")
    clips.try_some()
    assert clips.skipped == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_disk_that_fails_during_training_ends_it(
    tmp_path: Path, settings: Settings, workers: int
) -> None:
    records = missing_clips(tmp_path, *range(120))
    clips = RecordedClips([records], settings, skipped_file=tmp_path / "skipped.jsonl")
    with pytest.raises(
        DataError, match=r"the last 100 clips can't be read, such as: .*missing\.mp4"
    ):
        list(DataLoader(clips, None, num_workers=workers))
    validation = RecordedClips(
        [records], settings, skipped_file=tmp_path / "skipped.jsonl", drawn=False
    )
    assert all(sample is EMPTY_SAMPLE for sample in map(validation.__getitem__, range(120)))


def test_a_clip_is_listed_once_in_a_run(tmp_path: Path, settings: Settings) -> None:
    for _ in range(2):
        clips = RecordedClips(
            [missing_clips(tmp_path, 1, 2)], settings, skipped_file=tmp_path / "skipped.jsonl"
        )
        for index in (0, 1, 0, 1):
            assert clips[index] is EMPTY_SAMPLE
        list(DataLoader(clips, None, num_workers=2))
    assert clips.skipped == len(skipped_lines(tmp_path)) == 2


@pytest.mark.parametrize("name", ["train", "validation", "videos"])
def test_missing_paths_are_reported_at_once(bags: Path, tmp_path: Path, name: str) -> None:
    check_paths(Recipe())
    data: dict[str, Any] = {"train": (str(bags),)}
    check_paths(Recipe(data=DataConfig(**data)))
    data[name] = "no/folder" if name == "videos" else (str(bags), "no/folder")
    with pytest.raises(DataError, match="data: no/folder doesn't exist; paths are relative to the"):
        check_paths(Recipe(data=DataConfig(**data)))


def test_paths_may_begin_with_a_tilde(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(bags.parent))
    recipe_at_home = recipe_for(train=[f"~/{bags.name}/good"])
    check_paths(recipe_at_home)
    assert len(training_clips(recipe_at_home, tmp_path)) == len(  # type: ignore[arg-type]
        training_clips(recipe_for(train=[bags / "good"]), tmp_path)  # type: ignore[arg-type]
    )
    (bags.parent / "videos").mkdir()
    write_video(bags.parent / "videos" / "a.mp4", frame_times((0, 4)))
    file = tmp_path / "a.jsonl"
    line = line_of(ClipRecord(Path("a.mp4"), 0.0, 3.0, (Word(0.0, 1.0, "word"),)), tmp_path)
    write_conversations(file, [line])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"start: demo\ndata: {{train: [{file}], videos: '~/videos'}}")
    assert main([str(recipe)]) == 0, capsys.readouterr().out
    with pytest.raises(DataError, match="data: ~nobody-of-that-name/bags doesn't exist"):
        check_paths(recipe_for(train=["~nobody-of-that-name/bags"]))


def test_the_named_camera_of_a_bag_is_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A video beside it has no topics."""
    folder = tmp_path / "recordings"
    film(folder / "two", range(6), topics=("/left", "/right"))
    annotate(folder / "two", range(6))
    annotate(write_video(folder / "video.mp4", frame_times((0, 6))), range(6))
    recipe = tmp_path / "recipe.yaml"
    content = f"start: demo\ndata: {{train: [{folder}], topic: %s}}"
    recipe.write_text(content % "")
    assert main([str(recipe)]) == 1
    assert "has several cameras; name one of: /left, /right" in capsys.readouterr().out
    recipe.write_text(content % "/right")
    assert main([str(recipe)]) == 0, capsys.readouterr().out
    clips = training_clips(read_recipe(recipe), tmp_path)
    assert len(clips) == 2  # type: ignore[arg-type]
    assert not (tmp_path / "skipped.jsonl").exists()


def test_too_few_images_for_the_frame_rate_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotate(write_video(tmp_path / "a.mp4", [n / 2 for n in range(16)]), range(8))
    recipe = tmp_path / "recipe.yaml"
    content = f"start: demo\ndata: {{train: [{tmp_path / 'a.mp4'}]}}\nstreaming: {{fps: %d}}"
    problem = "filmed at 2 frames per second, but streaming says fps: 8"
    for fps, code in ((8, 1), (4, 0), (2, 0)):
        recipe.write_text(content % fps)
        assert main([str(recipe)]) == code
        assert (problem in capsys.readouterr().out) == bool(code)


def test_each_kind_of_problem_is_listed_once_a_recording_the_most_frequent_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their numbers differ."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, seconds in (("few", 30), ("many", 90)):
        images = frame_times((0, 4), (seconds, seconds + 4))
        annotate(write_video(folder / f"{name}.mp4", images), range(seconds + 4))
    code, out = run_prepare(folder, capsys)
    assert code == 1
    problems = [line for line in out.splitlines() if "words without images" in line]
    assert len(problems) == 2
    assert "many.mp4" in problems[0]
    assert "more)" in problems[0]
    assert "few.mp4" in problems[1]


def test_problems_beyond_the_list_are_counted_by_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(23):
        (folder / f"{number}.mp4").write_bytes(b"")
    code, out = run_prepare(folder, capsys)
    assert code == 1
    assert "and 3 other problems: 3 unreadable\n" in out
