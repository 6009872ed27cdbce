"""Recordings in folders, and the label files beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamingvlm_ros.errors import WordsError
from streamingvlm_ros.recordings.folder import (
    annotations_beside,
    find_recordings,
    unread_labels,
    unreadable_folders,
)

from ..support.cli import assert_one_error_line, run

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
        assert unreadable_folders(Path()) == [Path("lost+found")]
        assert unreadable_folders(Path("walk.mp4")) == []
        with pytest.raises(PermissionError, match=r"lost\+found"):
            list(find_recordings(Path("lost+found")))


@pytest.mark.parametrize("name", ["a.SRT", "a.VTT", "a.JSONL"])
def test_a_label_files_suffix_may_be_upper_case(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "a.mp4", tmp_path / name)
    assert annotations_beside(tmp_path / "a.mp4") == tmp_path / name


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


def test_an_evaluation_with_two_label_files_fails_with_one_line(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "a.jsonl", tmp_path / "a.vtt")
    done = run("evaluate", tmp_path, "--output", tmp_path / "out", "--model", "demo")
    assert_one_error_line(done, "a.vtt: keep one of them")
