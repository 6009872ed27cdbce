"""Recordings in folders, and the label files beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamingvlm_ros.errors import WordsError
from streamingvlm_ros.recordings.folder import (
    VIDEO_SUFFIXES,
    annotation_paths,
    annotations_beside,
    find_recordings,
    name_of,
    questions_beside,
    skipped_entries,
    unread_labels,
)

NOBODY = 65_534


@contextmanager
def as_nobody() -> Iterator[None]:
    """A closed folder is open to root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_folder_that_cannot_be_listed_is_skipped_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "drive" / "metadata.yaml", tmp_path / "walk.mp4")
    (tmp_path / "lost+found").mkdir(mode=0)
    # From within: the folders above may be closed, too.
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    with as_nobody():
        assert list(find_recordings(Path())) == [Path("drive"), Path("walk.mp4")]
        assert skipped_entries(Path()) == ["skipped lost+found in .: can't be listed"]
        assert skipped_entries(Path("walk.mp4")) == []
        with pytest.raises(PermissionError, match=r"lost\+found"):
            list(find_recordings(Path("lost+found")))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a.ass", "; a.ass is not read: convert other subtitles, for instance with ffmpeg -i"),
        ("a.TTML", "; a.TTML is not read: convert other subtitles"),
        ("a.en.vtt", "; a.en.vtt is not read: rename it to a.vtt"),
        ("a.mp4.srt", "; a.mp4.srt is not read: rename it to a.srt"),
        ("a.srt", ""),
        ("a.questions.jsonl", ""),
        ("a.txt", ""),
        ("ab.ass", ""),
    ],
)
def test_files_that_are_no_labels_but_look_like_them_are_named(
    tmp_path: Path, name: str, what: str
) -> None:
    touch(tmp_path / "a.mp4", tmp_path / name)
    message = unread_labels(tmp_path / "a.mp4")
    assert message.startswith(what)
    assert bool(message) == bool(what)


@pytest.mark.parametrize("names", [("a.jsonl", "a.vtt"), ("a.vtt", "a.srt")])
def test_two_label_files_are_an_error_that_names_both(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    first, second = (tmp_path / name for name in names)
    touch(tmp_path / "a.mp4", second)
    assert annotations_beside(tmp_path / "a.mp4") == second
    touch(first)
    with pytest.raises(WordsError, match="keep one of them") as caught:
        annotations_beside(tmp_path / "a.mp4")
    assert f"several label files, {first} and {second}: keep" in str(caught.value)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in find_recordings(folder)]


@pytest.mark.parametrize(
    "names",
    [
        ("monday.mcap", "tuesday.mcap"),
        ("monday.mcap",),
        ("monday.db3", "tuesday.mcap.zstd"),
        ("MONDAY.MCAP", "Tuesday.Db3"),
        ("drive_0.mcap", "walk_0.mcap"),
        ("drive_0.mcap", "drive_copy.mcap"),
        ("drive_20261125.mcap", "drive_20261126.mcap"),
        ("drive_0.mcap", "walk.mp4"),
        ("drive_0.mcap", "old.bag"),
    ],
)
def test_recordings_in_one_folder_are_recordings_of_their_own(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    touch(*(tmp_path / name for name in names))
    assert names_in(tmp_path) == list(names)
    assert skipped_entries(tmp_path) == []


@pytest.mark.parametrize(
    "names",
    [
        ("drive_0.mcap", "drive_1.mcap", "drive_10.mcap"),
        ("drive_0.db3",),
        ("rosbag2_2026_11_26-12_00_00_0.db3.zstd", "rosbag2_2026_11_26-12_00_00_1.db3.zstd"),
        ("monday.mcap", "tuesday.mcap", "metadata.yaml"),
        ("metadata.yaml",),
    ],
)
def test_the_files_of_one_bag_are_one_recording(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(*(tmp_path / "drive" / name for name in names))
    assert list(find_recordings(tmp_path)) == [tmp_path / "drive"]
    assert list(find_recordings(tmp_path / "drive")) == [tmp_path / "drive"]
    assert skipped_entries(tmp_path / "drive") == []


def test_metadata_of_something_else_does_not_make_a_bag_of_videos(tmp_path: Path) -> None:
    touch(tmp_path / "metadata.yaml", tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert names_in(tmp_path) == ["a.mp4", "b.mp4"]
    assert skipped_entries(tmp_path) == [
        f"skipped metadata.yaml in {tmp_path}: not named like a bag or a video"
    ]


def test_bags_in_subfolders_stand_beside_loose_files(tmp_path: Path) -> None:
    touch(tmp_path / "drive_0.mcap", tmp_path / "walk" / "metadata.yaml")
    assert names_in(tmp_path) == ["drive_0.mcap", "walk"]


def test_a_video_in_the_folder_of_a_bag_is_named(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("metadata.yaml", "a_0.mcap", "seen.mp4", "clip.jsonl")))
    assert list(find_recordings(tmp_path)) == [tmp_path]
    assert skipped_entries(tmp_path) == [
        f"skipped seen.mp4 in {tmp_path}: in a bag's folder; move it out to read it"
    ]


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_videos_of_all_endings_and_bags_of_ros_1_are_recordings(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    names = sorted(f"v{n}{change(suffix)}" for n, suffix in enumerate((*VIDEO_SUFFIXES, ".bag")))
    touch(*(tmp_path / name for name in names))
    assert names_in(tmp_path) == names
    assert skipped_entries(tmp_path) == []


def test_what_is_no_recording_is_named_with_the_reason(tmp_path: Path) -> None:
    touch(
        *(tmp_path / name for name in ("a.mp4", "a.vtt", "a.questions.jsonl", "a.txt", "b.LRV")),
        *(tmp_path / name for name in ("c.srt", "d.questions.jsonl", ".DS_Store", "._a.mp4")),
        *(tmp_path / name for name in ("e.db3", "e.db3-wal", "f.mcap", "f.mcap.zstd", ".mp4")),
        tmp_path / "day" / "monday.mcap",
    )
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "itself").symlink_to(".")
    (tmp_path / "lost.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert names_in(tmp_path) == ["a.mp4", "e.db3", "f.mcap"]
    reasons = dict(line.split(f" in {tmp_path}: ") for line in skipped_entries(tmp_path))
    assert reasons == {
        "skipped ._a.mp4": "hidden",
        "skipped a.txt, b.LRV, loop": "not named like a bag or a video",
        "skipped c.srt, d.questions.jsonl": "labels without a recording of that name",
        "skipped day, empty, folder.mp4, itself": (
            "not a bag; name the folder itself to read the recordings in it"
        ),
        "skipped f.mcap.zstd": "the compressed copy of a file beside it",
        "skipped lost.mp4, pipe.mp4": "not a file",
    }


def test_many_skipped_entries_take_one_line(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{n:03}.txt" for n in range(500)))
    [line] = skipped_entries(tmp_path)
    assert line.startswith("skipped 000.txt, 001.txt, ")
    assert ", 009.txt and 490 more in " in line


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.b.mp4", "a.b"), ("a.mcap.zstd", "a"), ("A.DB3.ZSTD", "A"), ("a.bag", "a"), ("a", "a")],
)
def test_a_name_is_that_of_the_file_without_the_endings(
    tmp_path: Path, file: str, name: str
) -> None:
    touch(tmp_path / file)
    assert name_of(tmp_path / file) == name


def test_the_folder_in_which_one_stands_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "drive" / "metadata.yaml", tmp_path / "drive" / "sub" / "x")
    monkeypatch.chdir(tmp_path / "drive")
    assert names_in(Path()) == ["drive"]
    monkeypatch.chdir(tmp_path / "drive" / "sub")
    assert names_in(Path("..")) == ["drive"]


@pytest.mark.parametrize("words", ["a.VTT", "a.Srt", "a.JSONL", "a.vtt"])
def test_endings_of_labels_may_be_in_capitals(tmp_path: Path, words: str) -> None:
    questions = tmp_path / "a.Questions.JSONL"
    touch(tmp_path / "a.MP4", tmp_path / words, questions, tmp_path / "ab.vtt")
    recording = tmp_path / "a.MP4"
    assert annotations_beside(recording) == tmp_path / words
    assert questions_beside(recording) == questions
    assert {tmp_path / words, questions} <= set(annotation_paths(recording))
    assert skipped_entries(tmp_path) == [
        f"skipped ab.vtt in {tmp_path}: labels without a recording of that name"
    ]
