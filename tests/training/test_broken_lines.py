"""Lines of a file of clips that are broken in any way: left out, listed, and the rest is used."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import DataError
from streamingvlm_training import prepare, sft
from streamingvlm_training.datasets import clips
from streamingvlm_training.datasets.clips import EMPTY_SAMPLE, RecordedClips, note_skipped
from streamingvlm_training.datasets.conversations import Conversations
from streamingvlm_training.datasets.record import ClipRecord

from .recordings import frame_times, write_video

MIB = 1 << 20
CLIP: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "video", "video": "a.mp4", "video_start": 0, "video_end": 4},
            {"type": "text", "text": "Describe.", "previous": ""},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {
                "type": "text_stream",
                "text_stream": [[0.1, 0.6, "one"], [1.1, 1.6, "two"]],
                "qa_stream": [["user", 1.0, "Who?", "Nobody."]],
                "asked": [[4.0, "What?", "Nothing."]],
            }
        ],
    },
]
GOOD = json.dumps(CLIP).encode()
DEEP = 100_000


def changed(path: str, value: Any) -> bytes:
    """Return the clip with another value at a path such as `1/content/0/text_stream`."""
    clip = copy.deepcopy(CLIP)
    *parents, last = [int(key) if key.isdecimal() else key for key in path.split("/")]
    target: Any = clip
    for key in parents:
        target = target[key]
    target[last] = value
    return json.dumps(clip).encode()


BROKEN: dict[str, bytes] = {
    "nested too deeply": b'[{"a":' + b"[" * DEEP,
    "nested too deeply and closed": b'[{"a":' + b"[" * DEEP + b"]" * DEEP + b"}]",
    "lists alone": b"[" * DEEP,
    "objects": b'[{"a":' + b'{"a":' * DEEP,
    "not UTF-8": GOOD.replace(b"one", b"\xff\xfe"),
    "cut off": GOOD[:100],
    "two in one": GOOD + GOOD,
    "NUL bytes": b"\0" * 4096,
    "NUL bytes in front": b"\0\0" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16-be"),
    "a word": b"word",
    "a number": b"12",
    "a huge number": b"[{" + b'"a": ' + b"9" * 5000 + b"}, {}]",
    "null": b"null",
    "NaN": b"NaN",
    "text": b'"text"',
    "an empty object": b"{}",
    "an empty list": b"[{}]",
    "one message": json.dumps(CLIP[:1]).encode(),
    "three messages": json.dumps([*CLIP, CLIP[0]]).encode(),
    "a lone surrogate in a word": GOOD.replace(b'"one"', rb'"\ud83d"'),
    "a lone surrogate in the instruction": GOOD.replace(b"Describe.", rb"\udc80"),
    "a lone surrogate in an answer": GOOD.replace(b"Nothing.", rb"\udfff"),
    "a lone surrogate in the path": GOOD.replace(b"a.mp4", rb"\ud800.mp4"),
    "a word that is NaN": GOOD.replace(b'"one"', b"NaN"),
    "a word that is an object": changed("1/content/0/text_stream/0/2", {"a": 1}),
    "a word that is null": changed("1/content/0/text_stream/0/2", None),
    "a word that is true": changed("1/content/0/text_stream/0/2", True),
    "a word of two": changed("1/content/0/text_stream/0", [0.1, "one"]),
    "a word as text": changed("1/content/0/text_stream/0", "123"),
    "a word as an object": changed("1/content/0/text_stream/0", {"1": 0, "2": 0, "3": 0}),
    "words as text": changed("1/content/0/text_stream", "one two"),
    "words as an object": changed("1/content/0/text_stream", {}),
    "words as null": changed("1/content/0/text_stream", None),
    "questions as text": changed("1/content/0/qa_stream", "Who?"),
    "a question as text": changed("1/content/0/qa_stream/0", "123"),
    "a question of two": changed("1/content/0/asked/0", [1.0, "Who?"]),
    "an answer that is a list": changed("1/content/0/asked/0/2", ["Nothing."]),
    "a time as an object": changed("0/content/0/video_start", {}),
    "a time as a list": changed("1/content/0/text_stream/0/0", [0.1]),
    "a time that is null": changed("0/content/0/video_end", None),
    "a path as a number list": changed("0/content/0/video", [1]),
    "a path with NUL": changed("0/content/0/video", "a\0.mp4"),
    "a path without end": changed("0/content/0/video", "a" * 100_000),
    "a path with lines": changed("0/content/0/video", "a\nb\r\n.mp4"),
    "a camera as a list": changed("0/content/0/camera", ["/image"]),
    "an earlier text as a list": changed("0/content/1/previous", ["so far"]),
    "an instruction as an object": changed("0/content/1/text", {"a": "b"}),
    "content as text": changed("0/content", "Describe."),
    "content as null": changed("1/content", None),
    "no video": changed("0/content/0", {"type": "text", "text": "Describe."}),
    "a missing video": changed("0/content/0/video", "missing.mp4"),
    "an end before the beginning": changed("0/content/0/video_end", -4),
    "a time beyond the video": changed("0/content/0/video_start", 1000),
    "the folder as a video": changed("0/content/0/video", "."),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the video a.mp4. Tests add files of clips."""
    path = tmp_path_factory.mktemp("data")
    write_video(path / "a.mp4", frame_times((0, 5)))
    return path


def write_lines(folder: Path, *lines: bytes) -> Path:
    path = folder / "clips.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def recorded(path: Path, skipped_file: Path) -> RecordedClips:
    return RecordedClips([Conversations(path)], Settings(), skipped_file=skipped_file)


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_a_broken_line_is_left_out_and_listed(folder: Path, tmp_path: Path, line: bytes) -> None:
    # The offsets of published files are their last line: a broken last line is tried, too.
    for lines in ((GOOD, line, GOOD), (line, GOOD), (GOOD, line)):
        skipped_file = tmp_path / f"{len(lines)}-{lines.index(line)}.jsonl"
        dataset = recorded(write_lines(folder, *lines), skipped_file)
        assert len(dataset) == len(lines)
        for index, content in enumerate(lines):
            assert (dataset[index] is EMPTY_SAMPLE) == (content is line)
        (entry,) = map(json.loads, skipped_file.read_text(encoding="utf-8").splitlines())
        assert entry["clip"] == f"{folder / 'clips.jsonl'}, clip {lines.index(line) + 1}"
        assert 0 < len(entry["why"]) < 1000


def test_a_byte_order_mark_does_not_break_the_first_line(folder: Path, tmp_path: Path) -> None:
    dataset = recorded(write_lines(folder, b"\xef\xbb\xbf" + GOOD, GOOD), tmp_path / "skipped")
    assert [dataset[n] is EMPTY_SAMPLE for n in range(2)] == [False, False]


def test_numbers_count_as_words_and_blank_fields_as_none(folder: Path) -> None:
    line = changed("1/content/0/text_stream/0/2", 7)
    bare = json.loads(line)
    bare[0]["content"][1] = {"type": "text", "text": None, "previous": None}
    (clip,) = Conversations(write_lines(folder, json.dumps(bare).encode()))
    assert (clip.words[0].text, clip.instruction, clip.previous) == ("7", "", "")


@pytest.mark.parametrize("begin", [b"[{", b"["])
@pytest.mark.parametrize("is_last", [False, True])
def test_a_line_of_hundreds_of_megabytes_needs_little_memory(
    folder: Path, tmp_path: Path, begin: bytes, is_last: bool
) -> None:
    path = folder / "endless.jsonl"
    with path.open("wb") as file:
        file.write(GOOD + b"\n" + begin)
        file.seek(300 * MIB, 1)  # a hole in the file reads as NUL
        file.write(b"]" if is_last else b"]\n" + GOOD + b"\n")
    tracemalloc.start()
    dataset = recorded(path, tmp_path / "skipped.jsonl")
    read = [dataset[n] is not EMPTY_SAMPLE for n in range(len(dataset))]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == [True, False, *([] if is_last else [True])]
    assert peak < 300 * MIB
    assert "longer than" in (tmp_path / "skipped.jsonl").read_text()


@pytest.mark.parametrize(
    "offsets", ["[" * DEEP, "[1e400]", f"[0, {10**30}]", "[-5]", '["0"]', "{}", "[0, 1", "\ufeff"]
)
def test_broken_offsets_beside_a_file_are_one_clear_line(folder: Path, offsets: str) -> None:
    path = folder / "beside.jsonl"
    path.write_bytes(GOOD + b"\n")
    (folder / "beside_seeks.jsonl").write_text(offsets)
    with pytest.raises(DataError, match=r"beside\.jsonl can't be read: ") as refused:
        Conversations(path)
    assert len(str(refused.value)) < 1000


def test_a_cut_off_last_line_of_offsets_is_listed_like_any_broken_line(
    folder: Path, tmp_path: Path
) -> None:
    skipped_file = tmp_path / "skipped.jsonl"
    dataset = recorded(write_lines(folder, GOOD, GOOD, b"[0, 12"), skipped_file)
    assert [dataset[n] is EMPTY_SAMPLE for n in range(3)] == [False, False, True]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
PATHS = [
    "0", "1", "0/content", "1/content", "0/content/0", "0/content/0/video",
    "0/content/0/video_start", "0/content/0/video_end", "0/content/0/camera", "0/content/1",
    "0/content/1/text", "0/content/1/previous", "1/content/0", "1/content/0/text_stream",
    "1/content/0/text_stream/0", "1/content/0/text_stream/0/0", "1/content/0/text_stream/0/2",
    "1/content/0/qa_stream", "1/content/0/qa_stream/0", "1/content/0/asked/0/1",
]  # fmt: skip
ANY_LINE = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.builds(changed, st.sampled_from(PATHS), JSON)
    | st.builds(
        lambda at, cut, noise: GOOD[:at] + noise + GOOD[at + cut :],
        st.integers(0, len(GOOD)),
        st.integers(0, 20),
        st.binary(max_size=20),
    )
)


@given(line=ANY_LINE)
@examples(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_line_is_a_clip_or_a_reported_error(folder: Path, line: bytes) -> None:
    path = folder / "any.jsonl"
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    records = Conversations(path)
    read = list(read_or_report(records))
    assert isinstance(read[0], ClipRecord)
    assert isinstance(read[-1], ClipRecord)
    for clip in read:
        if isinstance(clip, str):
            assert clip.encode()
            assert len(clip) < 1500
            continue
        texts = [clip.previous, clip.instruction, *(word.text for word in clip.words)]
        texts += [text for e in (*clip.exchanges, *clip.asked) for text in (e.question, e.answer)]
        assert all(text.encode() or not text for text in texts)


def read_or_report(records: Conversations) -> Iterator[ClipRecord | str]:
    for index in range(len(records)):
        try:
            yield records[index]
        except DataError as error:
            yield str(error)


def write_recipe(folder: Path, path: Path, **content: Any) -> Path:
    recipe = folder / "recipe.yaml"
    training = {"steps": 4, "batch_clips": 2, "log_every": 1}
    data = {"train": [str(path)]}
    recipe.write_text(
        yaml.safe_dump({"start": "demo", "data": data, "training": training, **content})
    )
    return recipe


def test_commands_report_broken_lines_and_use_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "mixed.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in (GOOD, *BROKEN.values(), GOOD)))
    recipe = write_recipe(tmp_path, path, lora={"rank": 2})
    assert prepare.main([str(recipe)]) == 1
    report = capsys.readouterr()
    assert "error:" not in report.err
    assert f"left out: {path}, clip 2: isn't a conversation about a video: RecursionError" in (
        report.out
    )
    assert sft.main([str(recipe), "--output", str(tmp_path / "run")]) == 0
    skipped = [json.loads(line) for line in (tmp_path / "run/skipped.jsonl").open()]
    assert {entry["clip"] for entry in skipped} <= {
        f"{path}, clip {n + 2}" for n in range(len(BROKEN))
    }
    assert "clips skipped: see skipped.jsonl" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        RecursionError("too deep"),
        MemoryError(),
        AssertionError("no frame"),
        UnicodeDecodeError("utf-8", b"\xff" * MIB, 0, 1, "invalid start byte"),
        RuntimeError("\ud83d\n" * 10_000),
        EOFError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_error_of_a_reader_is_a_reported_skip(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    dataset = recorded(write_lines(folder, GOOD, GOOD), tmp_path / "skipped.jsonl")
    assert dataset[0] is not EMPTY_SAMPLE
    with monkeypatch.context() as patch:
        patch.setattr(clips, "open_recording", fail)
        assert dataset[1] is EMPTY_SAMPLE
    assert dataset.skipped == 1
    (entry,) = map(json.loads, (tmp_path / "skipped.jsonl").read_text().splitlines())
    assert entry["why"].startswith(f"unexpected {type(error).__name__}")
    assert len(entry["why"]) < 1000


def test_names_that_are_not_utf8_are_listed_once(tmp_path: Path) -> None:
    for _ in range(2):
        note_skipped(tmp_path / "skipped.jsonl", "caf\udce9.mp4", why="\ud83d")
    (line,) = (tmp_path / "skipped.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"clip": "caf\udce9.mp4", "why": "\ud83d"}
