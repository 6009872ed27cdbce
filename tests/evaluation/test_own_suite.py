"""The default suite: recordings with label files beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from streamingvlm_ros.errors import EvaluationError, WordsError
from streamingvlm_ros.evaluation.items import Item, SuiteArguments
from streamingvlm_ros.evaluation.suites.own import LabelFiles, find_items


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def items_in(
    *paths: Path, reference: str | None = None, questions: Path | None = None
) -> list[Item]:
    return find_items(SuiteArguments(paths, None, reference, questions))


def label_files(item: Item) -> LabelFiles:
    assert isinstance(item.labels, LabelFiles)
    return item.labels


def test_a_folder_gives_its_bags_and_videos_with_the_files_beside_them(tmp_path: Path) -> None:
    bag, video = tmp_path / "drive", tmp_path / "walk.mp4"
    touch(bag / "metadata.yaml", video, tmp_path / "notes.txt")
    touch(tmp_path / "drive.vtt", tmp_path / "walk.questions.jsonl")
    assert items_in(tmp_path) == [
        Item("drive", bag, LabelFiles(bag, reference=tmp_path / "drive.vtt")),
        Item("walk", video, LabelFiles(video, questions=tmp_path / "walk.questions.jsonl")),
    ]


def test_a_saved_clip_brings_its_reference(tmp_path: Path) -> None:
    clip = tmp_path / "ball"
    touch(clip / "metadata.yaml", clip / "clip.jsonl")
    assert [label_files(item).reference for item in items_in(clip)] == [clip / "clip.jsonl"]
    touch(tmp_path / "ball.jsonl")
    assert [label_files(item).reference for item in items_in(clip)] == [tmp_path / "ball.jsonl"]


def test_a_topic_is_the_reference_of_every_bag(tmp_path: Path) -> None:
    touch(tmp_path / "one" / "metadata.yaml", tmp_path / "two" / "metadata.yaml")
    items = items_in(tmp_path, reference="/truth")
    assert [label_files(item).reference for item in items] == ["/truth"] * 2


def test_suffixes_may_be_upper_case(tmp_path: Path) -> None:
    touch(tmp_path / "V.MP4")
    assert [item.name for item in items_in(tmp_path)] == ["V"]


def test_names_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{240 * 'a'}{n}.mp4" for n in range(2)))
    items = items_in(tmp_path)
    assert [label_files(item).questions for item in items] == [None, None]


def test_two_label_files_of_one_recording_leave_the_others_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "a.jsonl", tmp_path / "a.vtt")
    touch(tmp_path / "b.mp4", tmp_path / "b.VTT")
    ambiguous, clear = items_in(tmp_path)
    assert label_files(clear).reference == tmp_path / "b.VTT"
    ambiguous.labels.fingerprints()
    unread: Any = None
    with pytest.raises(WordsError, match=r"a\.vtt: keep one of them"):
        ambiguous.labels.read(unread, start_ns=0, chunk_s=1.0)


def test_a_label_file_that_cannot_be_read_has_a_fingerprint(tmp_path: Path) -> None:
    gone = LabelFiles(tmp_path / "a.mp4", reference=tmp_path / "gone.vtt")
    reference = gone.fingerprints().reference
    assert reference == f"{tmp_path / 'gone.vtt'} No such file or directory"


@pytest.mark.parametrize("name", ["truth.VTT", "truth.Jsonl", "truth.srt"])
def test_a_reference_may_end_in_capitals(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "a.mp4", tmp_path / name)
    [item] = items_in(tmp_path / "a.mp4", reference=str(tmp_path / name))
    assert label_files(item).reference == tmp_path / name


def test_a_corrected_file_has_another_fingerprint(tmp_path: Path) -> None:
    touch(tmp_path / "walk.mp4", tmp_path / "walk.jsonl")
    [item] = items_in(tmp_path)
    before = item.labels.fingerprints()
    (tmp_path / "walk.jsonl").write_text("\n")
    assert item.labels.fingerprints() != before


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
def test_an_unusable_reference_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "drive" / "metadata.yaml", tmp_path / "truth.txt")
    for name in ("folder", "folder.vtt"):
        (tmp_path / name).mkdir()
    for text in (reference, str(tmp_path / reference)):
        if text != str(tmp_path / "truth"):  # which may be a topic
            with pytest.raises(EvaluationError, match=rf"{re.escape(reference)}.*{re.escape(why)}"):
                items_in(tmp_path / "drive", reference=text)


def test_ambiguous_or_missing_recordings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no bag and no video"):
        items_in(tmp_path)
    touch(tmp_path / "a" / "drive.mp4", tmp_path / "b" / "drive.mp4")
    videos = tmp_path / "a" / "drive.mp4", tmp_path / "b" / "drive.mp4"
    with pytest.raises(EvaluationError, match="several recordings are called drive"):
        items_in(*videos)
    touch(tmp_path / "a" / "walk.mp4", tmp_path / "truth.vtt")
    with pytest.raises(EvaluationError, match="can't serve several"):
        items_in(tmp_path / "a", reference=str(tmp_path / "truth.vtt"))
