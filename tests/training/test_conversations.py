"""Files of clips: ours, StreamingVLM's and LiveCC's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamingvlm_ros.atomic_write import write_text
from streamingvlm_ros.errors import DataError
from streamingvlm_training.datasets import conversations
from streamingvlm_training.datasets.conversations import Conversations, line_of, write_conversations
from streamingvlm_training.datasets.record import ClipRecord, Exchange, Word
from streamingvlm_training.datasets.videos import Videos

WORDS = ((10.0, 10.4, "It's"), (10.4, 11.25, "raining."))


def line(video: str, previous: str = "", **stream_fields: Any) -> str:
    """As the authors publish it."""
    content = [
        {"type": "video", "video": video, "video_start": 10.0, "video_end": 34.0},
        {"type": "text", "text": "Commentate.", "previous": previous, "title": "", "category": ""},
    ]
    stream = {"type": "text_stream", "text_stream": [list(word) for word in WORDS], **stream_fields}
    return json.dumps(
        [{"role": "user", "content": content}, {"role": "assistant", "content": [stream]}]
    )


def offsets(lines: list[str]) -> list[int]:
    return [sum(len(line) + 1 for line in lines[:n]) for n in range(len(lines))]


def videos(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"video")


def test_the_authors_files_are_read_with_their_offsets(tmp_path: Path) -> None:
    videos(tmp_path, "a.mp4", "sub/b.mp4")
    asked = [["user", 20.0, "Who?", "Nobody."]]
    lines = [line("a.mp4"), line("sub/b.mp4", "Before.", qa_stream=asked)]
    path = tmp_path / "train_s12w24_with_seeks.jsonl"
    path.write_text("\n".join(lines) + "\n")
    (tmp_path / "train_s12w24_seeks.jsonl").write_text(json.dumps(offsets(lines)))
    first, second = Conversations(path)
    assert first.recording == tmp_path / "a.mp4"
    assert (first.start_s, first.end_s, first.instruction) == (10.0, 34.0, "Commentate.")
    assert first.words == tuple(Word(*word) for word in WORDS)
    assert second.recording == tmp_path / "sub/b.mp4"
    assert (second.previous, second.instruction) == ("Before.", "")
    assert second.exchanges == (Exchange(20.0, "Who?", "Nobody."),)


def test_live_whisperx_has_its_offsets_in_the_last_line(tmp_path: Path) -> None:
    videos(tmp_path, "a.mp4", "b.mp4")
    lines = [line("a.mp4"), line("b.mp4")]
    path = tmp_path / "live_whisperx_526k_with_seeks.jsonl"
    path.write_text("\n".join(lines) + "\n" + json.dumps(offsets(lines)))
    assert [clip.recording.name for clip in Conversations(path)] == ["a.mp4", "b.mp4"]


def test_a_file_without_offsets_is_scanned(tmp_path: Path) -> None:
    videos(tmp_path, "a.mp4")
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{line('a.mp4')}\n\n{line('a.mp4')}\n")
    assert len(Conversations(path)) == 2


def test_offsets_of_another_file_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{line('a.mp4')}\n{line('a.mp4')}\n")
    (tmp_path / "mine_seeks.jsonl").write_text("[0, 17]")
    with pytest.raises(DataError, match=r"no clip begins at its offset 17; .*remove the offsets"):
        Conversations(path)


def test_offsets_of_some_of_the_clips_are_an_error(tmp_path: Path) -> None:
    """As after `cat a/train.jsonl >> b/train.jsonl`."""
    path = tmp_path / "mine.jsonl"
    lines = [line("a.mp4")] * 4
    for some, tail in ((2, ""), (0, ""), (2, "[0]\n"), (4, line("a.mp4"))):
        path.write_text("\n".join(lines) + "\n" + tail)
        (tmp_path / "mine_seeks.jsonl").write_text(json.dumps(offsets(lines)[:some]))
        with pytest.raises(DataError, match=r"has more clips than offsets; .*remove the offsets"):
            Conversations(path)


def test_an_empty_last_line_of_offsets_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{line('a.mp4')}\n[]\n")
    with pytest.raises(DataError, match=r"more clips than offsets; .*or its last line"):
        Conversations(path)


def test_the_authors_offsets_may_be_in_both_places(tmp_path: Path) -> None:
    lines = [line("a.mp4")] * 2
    (tmp_path / "a_with_seeks.jsonl").write_text("\n".join([*lines, json.dumps(offsets(lines))]))
    (tmp_path / "a_seeks.jsonl").write_text(json.dumps(offsets(lines)))
    assert len(Conversations(tmp_path / "a_with_seeks.jsonl")) == 2


def test_no_clips_have_no_offsets(tmp_path: Path) -> None:
    write_conversations(tmp_path / "none.jsonl", [])
    assert len(Conversations(tmp_path / "none.jsonl")) == 0


def test_a_stopped_writer_leaves_no_offsets_of_other_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.jsonl"
    write_conversations(path, [line("a.mp4")] * 2)

    def stopped(file: Path, text: str) -> None:
        assert file == path, "stopped"
        write_text(file, text)

    monkeypatch.setattr(conversations, "write_text", stopped)
    with pytest.raises(AssertionError, match="stopped"):
        write_conversations(path, [line("a.mp4")] * 3)
    assert len(Conversations(path)) == 3


def test_written_clips_can_be_read_after_they_were_moved(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    videos(folder, "videos/a.mp4")
    record = ClipRecord(
        folder / "videos/a.mp4",
        1.0,
        4.0,
        (Word(1.0, 2.0, "Größe:"), Word(2.0, 3.0, "\u2028")),
        (Exchange(2.0, "?", "!"),),
        (Exchange(4.0, "a", "b"),),
        previous="so far",
        camera="/image",
    )
    write_conversations(folder / "train.jsonl", [line_of(record, folder)] * 2)
    moved = folder.rename(tmp_path / "moved")
    assert len(Conversations(moved / "train.jsonl")) == 2
    for number, read in enumerate(Conversations(moved / "train.jsonl"), 1):
        assert read.origin == f"{moved / 'train.jsonl'}, clip {number}"
        assert read.recording == moved / "videos/a.mp4"
        for name in ("start_s", "end_s", "words", "exchanges", "asked", "previous", "camera"):
            assert getattr(read, name) == getattr(record, name)


def test_a_video_is_found_below_the_folder_by_its_name(tmp_path: Path) -> None:
    videos(tmp_path, "deep/er/a.mp4", "x/b.mp4", "y/b.mp4")
    search = Videos(tmp_path)
    assert search.find("/makers/disk/a.mp4") == tmp_path / "deep/er/a.mp4"
    assert search.find("/makers/disk/y/b.mp4") == tmp_path / "y/b.mp4"
    with pytest.raises(DataError, match="could be any of"):
        search.find("/makers/disk/b.mp4")
    with pytest.raises(DataError, match=r"there is no video c\.mp4"):
        search.find("c.mp4")


@pytest.mark.parametrize("file", ["b.mp4", "deep/b.mp4"])
def test_all_names_of_a_video_are_recorded(tmp_path: Path, file: str) -> None:
    videos(tmp_path, file)
    search = Videos(tmp_path)
    assert search.find("x/b.mp4") == search.find("y/b.mp4") == tmp_path / file
    assert search.names == {tmp_path / file: {"x/b.mp4", "y/b.mp4"}}


def test_a_videos_own_path_counts_as_one_name_from_any_folder(tmp_path: Path) -> None:
    videos(tmp_path, "sub/b.mp4")
    outer, inner = Videos(tmp_path), Videos(tmp_path / "sub")
    assert outer.find("sub/b.mp4") == inner.find("b.mp4")
    assert outer.names == inner.names


def test_a_missing_video_is_reported_as_such_and_not_as_a_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{line('a.mp4')}\n")
    with pytest.raises(DataError, match=rf"^there is no video a\.mp4 below {tmp_path}$"):
        Conversations(path)[0]


@pytest.mark.parametrize("text", ["{}", "[1, 2]", "[{}, {}]", '[{"role": "user"}]', "[{"])
def test_a_line_that_is_not_a_conversation_is_an_error_with_its_number(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{text}\n{line('a.mp4')}\n")
    with pytest.raises(DataError, match=r"mine\.jsonl, clip 1 isn't a conversation"):
        Conversations(path)[0]


@pytest.mark.parametrize("time", ["NaN", "-Infinity", "1e300", "1" + 400 * "0"])
@pytest.mark.parametrize("place", ["10.0", "34.0", "11.25", "20.0", "21.0"])
def test_an_invalid_time_is_an_error_with_its_number(tmp_path: Path, place: str, time: str) -> None:
    """Where a clip or a word begins or ends, and where a question is asked."""
    videos(tmp_path, "a.mp4")
    asked = {"qa_stream": [[20.0, "Who?", "Nobody."]], "asked": [[21.0, "Who?", "Nobody."]]}
    path = tmp_path / "mine.jsonl"
    path.write_text(line("a.mp4", **asked).replace(place, time))
    with pytest.raises(DataError, match=r"mine\.jsonl, clip 1 isn't a conversation.*isn't a time"):
        Conversations(path)[0]
