"""Which recordings are evaluated, and by what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamingvlm_ros.atomic_write import write_text
from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import EvaluationError
from streamingvlm_ros.evaluation.candidate import Candidate
from streamingvlm_ros.evaluation.evaluation import Trial
from streamingvlm_ros.evaluation.items import Item, find_items


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*paths: Path, reference: str | None = None, questions: Path | None = None) -> list[Item]:
    return find_items(paths, None, reference, questions)


def test_a_folder_gives_its_bags_and_videos_with_what_stands_beside_them(tmp_path: Path) -> None:
    touch(tmp_path / "drive" / "metadata.yaml", tmp_path / "walk.mp4", tmp_path / "notes.txt")
    touch(tmp_path / "drive.vtt", tmp_path / "walk.questions.jsonl")
    assert found(tmp_path) == [
        Item("drive", tmp_path / "drive", reference=tmp_path / "drive.vtt"),
        Item("walk", tmp_path / "walk.mp4", questions=tmp_path / "walk.questions.jsonl"),
    ]


def test_a_kept_clip_brings_its_reference(tmp_path: Path) -> None:
    clip = tmp_path / "ball"
    touch(clip / "metadata.yaml", clip / "clip.jsonl")
    assert [item.reference for item in found(clip)] == [clip / "clip.jsonl"]
    touch(tmp_path / "ball.jsonl")
    assert [item.reference for item in found(clip)] == [tmp_path / "ball.jsonl"]


def test_a_topic_is_a_reference_for_every_bag(tmp_path: Path) -> None:
    touch(tmp_path / "one" / "metadata.yaml", tmp_path / "two" / "metadata.yaml")
    assert [item.reference for item in found(tmp_path, reference="/truth")] == ["/truth"] * 2


def test_a_camera_may_write_its_endings_large(tmp_path: Path) -> None:
    touch(tmp_path / "V.MP4")
    assert [item.name for item in found(tmp_path)] == ["V"]


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    names = [f"{240 * 'a'}{n}.mp4" for n in range(2)]
    touch(*(tmp_path / name for name in names))
    items = found(tmp_path)
    assert [item.questions for item in items] == [None, None]
    model = Candidate("demo", "demo", Settings())
    files = {Trial(item, model, "shuffled frames", ("stream",)).file for item in items}
    assert len(files) == 2
    for file in files:
        write_text(tmp_path / file, "results")


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("missing.vtt", "there is no such file"),
        ("truth.txt", "neither a .jsonl, .vtt, .srt file nor a narration topic"),
        ("truth", "nor a narration topic, which begins with a slash"),
        ("folder", "neither a .jsonl"),
        ("folder.vtt", "neither a .jsonl"),
    ],
)
def test_a_reference_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "drive" / "metadata.yaml", tmp_path / "truth.txt")
    for name in ("folder", "folder.vtt"):
        (tmp_path / name).mkdir()
    for given in (reference, str(tmp_path / reference)):
        if given != str(tmp_path / "truth"):  # which may be a topic
            with pytest.raises(EvaluationError, match=rf"{re.escape(reference)}.*{re.escape(why)}"):
                found(tmp_path / "drive", reference=given)


def test_what_is_ambiguous_or_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no bag and no video"):
        found(tmp_path)
    touch(tmp_path / "a" / "drive.mp4", tmp_path / "b" / "drive.mp4")
    videos = tmp_path / "a" / "drive.mp4", tmp_path / "b" / "drive.mp4"
    with pytest.raises(EvaluationError, match="several recordings are called drive"):
        found(*videos)
    touch(tmp_path / "a" / "walk.mp4", tmp_path / "truth.vtt")
    with pytest.raises(EvaluationError, match="can't be that of several"):
        found(tmp_path / "a", reference=str(tmp_path / "truth.vtt"))
