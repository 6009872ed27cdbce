"""`streamingvlm export`, and `streamingvlm_training.prepare` on an export."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from streamingvlm_ros.bags.cdr import MessageDecoder
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.types import BagMessage
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.frames import image_decoding
from streamingvlm_ros.frames.image_decoding import Picture
from streamingvlm_ros.recordings import bag_recording
from streamingvlm_ros.recordings.annotation_files import write_annotations
from streamingvlm_ros.recordings.annotations import Annotation, AnnotationFile, Utterance
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Frame, Image
from streamingvlm_training.datasets import export as exporting
from streamingvlm_training.datasets.clips import clip_of
from streamingvlm_training.datasets.conversations import Conversations, write_conversations
from streamingvlm_training.datasets.export import export
from streamingvlm_training.prepare import main

from ..support.cli import run
from ..support.world_bags import BEGIN_S, RATE_HZ, SIDE_PX, WORLD, film
from .exports import BAG_SECONDS, CUT, edit_first_clip
from .recordings import (
    ANSWER,
    FRAMES,
    NARRATION,
    annotate,
    frame_times,
    looped_bag,
    narrated_bag,
    times_of,
    write_images,
    write_video,
)


def alike(one: Image, other: Image) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_bags_become_videos_and_conversations_split_by_recording(
    bags: Path, tmp_path: Path
) -> None:
    done = run(
        "export", bags, "--output", tmp_path, "--model", "demo", "--clip", 4, "--overlap", 2,
        "--validation", 3,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "train: 8 clips of 2 recordings\nvalidation: 4 clips of 1 recording\n"
    train = Conversations(tmp_path / "train.jsonl")
    validation = Conversations(tmp_path / "validation.jsonl")
    assert {clip.recording.name for clip in train} == {"one.mp4", "three.mp4"}
    assert {clip.recording.name for clip in validation} == {"two.mp4"}


def test_an_exported_clip_has_the_frames_and_words_of_its_bag(bags: Path, tmp_path: Path) -> None:
    settings = Settings()
    export([bags / "one", bags / "two"], tmp_path, settings=settings, config=CUT, validation=0)
    _, second, *_ = Conversations(tmp_path / "train.jsonl")
    sample = clip_of(second, settings.frames)
    assert [round_.text for round_ in sample.rounds] == [WORLD.caption(n) for n in range(2, 6)]
    for round_, number in zip(sample.rounds, range(2, 6), strict=True):
        assert (round_.start_s, round_.end_s) == (number, number + 1)
        for part, image in zip((0.0, 0.5), round_.images, strict=True):
            truth = WORLD.frame(number + part, SIDE_PX, SIDE_PX)
            assert alike(image, truth) < 1
    assert alike(sample.rounds[0].images[0], sample.rounds[-1].images[0]) > 2


def test_an_exported_clip_has_the_still_pictures_of_its_video_and_no_more(tmp_path: Path) -> None:
    times_s = [0, 0.5, 1, 5, 5.5, 6, 6.5, 30, 30.5, 31, 31.5]
    video = annotate(write_video(tmp_path / "still.mp4", times_s), range(32))
    settings = Settings()
    export([video], tmp_path / "out", settings=settings, config=CUT, validation=0)
    clips = list(Conversations(tmp_path / "out" / "train.jsonl"))
    assert [clip.hold for clip in clips] == [False] * len(clips)
    for clip in clips[0], clips[4], clips[-1]:
        original = clip_of(replace(clip, recording=video, hold=True), settings.frames)
        exported = clip_of(clip, settings.frames)
        assert [r.start_s for r in exported.rounds] == [r.start_s for r in original.rounds]
        for one, other in zip(exported.rounds, original.rounds, strict=True):
            assert len(one.images) == len(other.images) == 2
            assert all(map(lambda a, b: alike(a, b) < 2, one.images, other.images))


def test_an_export_opens_a_bag_once_and_decodes_only_the_images_that_a_model_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag, opened, decoded = looped_bag(tmp_path / "bag"), list[Path](), Counter[str]()
    initialise, decode, to_array = (
        BagReader.__init__,
        MessageDecoder.decode,
        image_decoding.to_array,
    )

    def counted_init(reader: BagReader, path: Path) -> None:
        opened.append(path)
        initialise(reader, path)

    def counted_decode(decoder: MessageDecoder, message: BagMessage) -> Any:
        decoded[message.topic.type] += 1
        return decode(decoder, message)

    def counted_to_array(image: Picture) -> Image:
        decoded["pixels"] += 1
        return to_array(image)

    monkeypatch.setattr(BagReader, "__init__", counted_init)
    monkeypatch.setattr(MessageDecoder, "decode", counted_decode)
    for module in (image_decoding, bag_recording):
        monkeypatch.setattr(module, "to_array", counted_to_array)
    done = export([bag], tmp_path / "out", settings=Settings(), config=CUT, validation=0)
    assert done
    assert done.train == {bag: 4}
    assert opened == [bag]
    # 8 seconds of 2 frames a second before the clock was set back, the first chunk after it, and
    # the first image, which is tried when the bag is opened.
    assert decoded == {NARRATION.type: 16, ANSWER.type: 2, "pixels": 8 * 2 + 1}


def test_words_stay_with_their_frames_when_a_recording_begins_within_a_chunk(
    tmp_path: Path,
) -> None:
    film(tmp_path / "late", range(8))
    lines = ({"start_s": n, "end_s": n + 1, "text": WORLD.caption(n)} for n in range(1, 8))
    (tmp_path / "late.jsonl").write_text("\n".join(map(json.dumps, lines)))
    # Frames of the first half second are lost, and its chunk with them.
    settings = Settings()
    config = replace(settings.frames, fps=1.0)
    cut_short(tmp_path / "late", tmp_path / "half")
    (tmp_path / "late.jsonl").rename(tmp_path / "half.jsonl")
    export([tmp_path / "half"], tmp_path / "out", settings=settings, config=CUT, validation=0)
    first, *_ = Conversations(tmp_path / "out" / "train.jsonl")
    assert first.start_s == 1.0
    for round_ in clip_of(first, config).rounds:
        truth = WORLD.frame(round_.start_s, SIDE_PX, SIDE_PX)
        assert alike(round_.images[0], truth) < 1
        assert round_.text == WORLD.caption(int(round_.start_s))


def cut_short(bag: Path, shorter: Path) -> None:
    """The bag without its first half second."""
    with BagReader(bag) as source, BagWriter(shorter, BagConfig()) as part:
        for number, recorded in enumerate(source.messages()):
            if number >= RATE_HZ // 2:
                part.write(recorded.topic, recorded.stamp_ns, data=recorded.data)


def test_an_unusable_recording_is_left_out_with_the_reason(bags: Path, tmp_path: Path) -> None:
    film(tmp_path / "silent", range(3))
    done = export(
        [bags / "one", tmp_path / "silent"],
        tmp_path / "out",
        settings=Settings(),
        config=CUT,
        validation=0,
    )
    (why,) = done.skipped.values()
    assert "put silent.jsonl, .vtt or .srt beside it" in why
    with pytest.raises(DataError, match="no recording can be used"):
        export(
            [tmp_path / "silent"], tmp_path / "out", settings=Settings(), config=CUT, validation=0
        )


def late(folder: Path) -> Path:
    """A video that begins at 10 s of its file, by whose clock its words are timed."""
    return annotate(write_video(folder / "late.mp4", frame_times((10, 30))), range(10, 30))


def mistyped(folder: Path) -> Path:
    recording = write_video(folder / "typo.mp4", frame_times((0, 8)))
    words = {"start_s": 0, "end_s": 36_000, "text": "a car"}
    recording.with_suffix(".jsonl").write_text(json.dumps(words))
    return recording


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (late, "is at 10.00 s of the file, and seconds count from it"),
        (
            lambda folder: narrated_bag(folder / "narrated", 5.0, header_s=0.0),
            "8 of its narrations are about times",
        ),
        (mistyped, "1 of its utterances end up to 35992.00 s after it"),
    ],
    ids=["late", "narrated", "mistyped"],
)
def test_words_without_images_are_reported_by_each_export(
    tmp_path: Path, make: Callable[[Path], Path], what: str
) -> None:
    path = make(tmp_path)
    for _ in range(2):
        done = run("export", path, "--output", tmp_path / "out", "--model", "demo")
        assert (done.returncode, done.stdout.count("train: 0")) == (0, 0), done.stderr
        assert f"check {path}: " in done.stderr
        assert what in done.stderr


def test_words_that_fit_are_no_problem(bags: Path, tmp_path: Path) -> None:
    done = export(
        [bags / "one", bags / "two"], tmp_path, settings=Settings(), config=CUT, validation=0
    )
    assert done
    assert not done.problems


def test_a_recording_without_a_clip_is_reported_with_the_times_of_its_words(tmp_path: Path) -> None:
    path = annotate(write_video(tmp_path / "a.mp4", frame_times((0, 4))), range(60, 70))
    other = annotate(write_video(tmp_path / "b.mp4", frame_times((0, 4))), range(4))
    done = export([path, other], tmp_path / "out", settings=Settings(), config=CUT, validation=0)
    assert done
    assert list(done.skipped) == [path]
    assert f"{path}: gives no clip: it has words from 60.00 to 70.00 s" in done.skipped[path]


ACTIONS = [
    '{"action": "stop"}',
    '{"action": "turn", "path": "C:\\\\New"}',
    "{}",
    "{EXIT} 42",
    "<stop> & --> {\\an8}",
]


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_subtitles_of_braces_and_tags_are_exported_as_these_words(
    tmp_path: Path, suffix: str
) -> None:
    path = write_video(tmp_path / "robot.mp4", frame_times((0, 8)))
    cues = (Annotation.of(Utterance(n, n + 1, text)) for n, text in enumerate(ACTIONS))
    write_annotations(path.with_suffix(suffix), AnnotationFile(suffix, tuple(cues)))
    done = export([path], tmp_path / "out", settings=Settings(), config=CUT, validation=0)
    assert done
    assert not done.problems
    first, second, *_ = Conversations(tmp_path / "out" / "train.jsonl")
    texts = [round_.text for clip in (first, second) for round_ in clip_of(clip, FRAMES).rounds]
    # Clips of four seconds overlap by two.
    assert texts == [*ACTIONS[:4], *ACTIONS[2:], ""]


def test_cues_that_were_left_out_or_changed_are_reported_by_an_export(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frame_times((0, 8)))
    path.with_suffix(".vtt").write_text(
        "WEBVTT\n\n00:01.000 --> 00:01.000\na box\n\n00:61.000 --> 00:62.000\nlost\n"
    )
    (path.parent / "a.questions.jsonl").touch()
    done = export([path], tmp_path / "out", settings=Settings(), config=CUT, validation=0)
    assert done
    words = tmp_path / "a.vtt"
    assert done.problems[path] == [
        f"{words}, line 6: '00:61.000 --> 00:62.000' has no times such as 00:00:01.000 --> "
        "00:00:02.500: the cue is left out",
        f"{words}, line 3: 1 cue without length, shown until the next cue or for 1 s",
    ]


def test_a_label_file_that_cannot_be_read_leaves_the_recording_out(tmp_path: Path) -> None:
    good = annotate(write_video(tmp_path / "good.mp4", frame_times((0, 4))), range(4))
    bad = {"ttml.vtt": "<tt/>", "deep.jsonl": '{"a":' * 100_000, "other.ttml": "<tt/>"}
    paths = [write_video(tmp_path / f"{name.split('.')[0]}.mp4", [0, 1]) for name in bad]
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
    done = export([good, *paths], tmp_path / "o", settings=Settings(), config=CUT, validation=0)
    assert done
    assert list(done.train) == [good]
    ttml, deep, other = (done.skipped[path] for path in paths)
    assert "ttml.vtt, line 1: a .vtt file must begin with WEBVTT" in ttml
    assert "deep.jsonl, line 1: maximum recursion depth exceeded" in deep
    assert "; other.ttml is not read: convert other subtitles" in other


def test_recordings_stay_on_their_side_when_others_are_added(tmp_path: Path) -> None:
    first = [Path(f"bag{n}") for n in range(40)]
    more = [Path("a"), *first, Path("z")]
    sides = exporting._for_validation(first, 5), exporting._for_validation(more, 5)
    assert sides[0] == sides[1] & set(first)
    assert 4 <= len(sides[0]) <= 12
    moved = exporting._for_validation([Path("/elsewhere") / path for path in first], 5)
    assert {path.name for path in moved} == {path.name for path in sides[0]}


@pytest.mark.parametrize("every", [1, 2, 5, 1000])
@pytest.mark.parametrize("count", range(2, 6))
def test_both_sides_get_a_recording_if_there_are_two(count: int, every: int) -> None:
    paths = [Path(f"bag{n}") for n in range(count)]
    assert 1 <= len(exporting._for_validation(paths, every)) < count
    assert exporting._for_validation(paths, 0) == exporting._for_validation(paths[:1], every)
    assert not exporting._for_validation(paths, 0)


def test_recordings_of_earlier_exports_are_reported_if_this_one_lacks_them(
    bags: Path, tmp_path: Path
) -> None:
    options = ("--output", tmp_path, "--model", "demo")
    assert "left out" not in run("export", bags / "one", bags / "two", *options).stderr
    output = run("export", bags / "three", *options).stderr
    assert "left out: 2 recordings exported before (one, two)" in output


def test_recordings_of_the_same_name_are_an_error(bags: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="several recordings are called one: rename them"):
        export(
            [bags / "one", tmp_path / "one"],
            tmp_path / "out",
            settings=Settings(),
            config=CUT,
            validation=0,
        )


@pytest.mark.parametrize(
    "name",
    ["videos/one.mp4", "parts/one.jsonl", "train.jsonl", "train_seeks.jsonl", "validation.jsonl"],
)
def test_files_that_no_export_has_created_are_not_overwritten(
    bags: Path, tmp_path: Path, name: str
) -> None:
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True)
    own.write_text("[]")
    done = run("export", bags, "--output", tmp_path, "--model", "demo")
    assert done.returncode == 1
    assert f"error: {own} already exists, and no export listed in " in done.stderr
    assert "created it: move it, or name another --output" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]
    assert own.read_text() == "[]"


def test_a_foreign_video_named_like_a_skipped_recording_is_not_overwritten(
    bags: Path, tmp_path: Path
) -> None:
    silent = film(tmp_path / "silent", range(3))
    export([bags / "one", silent], tmp_path, settings=Settings(), config=CUT, validation=0)
    own = tmp_path / "videos" / "silent.mp4"
    own.write_text("filmed by hand")
    with pytest.raises(DataError, match=r"silent\.mp4 already exists"):
        export([bags / "one", silent], tmp_path, settings=Settings(), config=CUT, validation=0)
    assert own.read_text() == "filmed by hand"


def test_a_video_is_not_exported_to_its_own_place(bags: Path, tmp_path: Path) -> None:
    export([bags / "one"], tmp_path, settings=Settings(), config=CUT, validation=0)
    film_of_one = tmp_path / "videos" / "one.mp4"
    before = film_of_one.read_bytes()
    annotate(film_of_one, range(BAG_SECONDS))
    (tmp_path / "link").symlink_to(tmp_path / "videos")
    for path in (film_of_one, tmp_path / "link" / "one.mp4"):
        with pytest.raises(DataError, match=r"would overwrite .*one\.mp4, .*: name another"):
            export([path], tmp_path, settings=Settings(), config=CUT, validation=0)
    assert film_of_one.read_bytes() == before


@pytest.mark.parametrize("name", ["train", "validation", "train_seeks"])
def test_words_of_a_bag_with_the_name_of_an_output_file_are_not_overwritten(
    bags: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(bags / "one", tmp_path / name)
    words = shutil.copy(bags / "one.jsonl", tmp_path / f"{name}.jsonl")
    before = words.read_text()
    done = run("export", tmp_path, "--output", tmp_path, "--model", "demo")
    assert done.returncode == 1
    assert f"error: the export would overwrite {words}, a recording or its labels" in done.stderr
    assert words.read_text() == before
    words.unlink()  # what would be written would be its words the next time
    with pytest.raises(DataError, match="would overwrite"):
        export([tmp_path / name], tmp_path, settings=Settings(), config=CUT, validation=0)


def test_the_model_whose_settings_are_used_is_reported(bags: Path, tmp_path: Path) -> None:
    done = run("export", bags / "one", "--output", tmp_path, "--model", "demo")
    (line,) = (line for line in done.stderr.splitlines() if "windows are those of" in line)
    assert "demo/checkpoint (--model demo)" in line


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path) -> None:
    annotate(write_video(tmp_path / "a.mp4", frame_times((0, 4))), range(4))
    closed = tmp_path / "lost+found"
    closed.mkdir(mode=0)
    if os.access(closed, os.R_OK):
        pytest.skip("every folder is open to root")
    done = run("export", tmp_path, "--output", tmp_path / "out", "--model", "demo")
    assert done.returncode == 0, done.stderr
    assert f"skipped lost+found in {tmp_path}: can't be listed\n" in done.stderr


def test_a_bag_with_several_cameras_is_exported_by_topic_beside_a_video(tmp_path: Path) -> None:
    bag = annotate(film(tmp_path / "two", range(4), topics=("/left", "/right")), range(4))
    plain = annotate(write_video(tmp_path / "plain.mp4", frame_times((0, 4))), range(4))
    options = (bag, plain, "--output", tmp_path / "out", "--model", "demo")
    assert "has several cameras; name one of" in run("export", *options).stderr
    done = run("export", *options, "--topic", "/right")
    assert "skipped" not in done.stderr
    assert done.stdout == "train: 1 clip of 1 recording\nvalidation: 1 clip of 1 recording\n"
    assert "/up is not a camera in" in run("export", *options, "--topic", "/up").stderr


def stamped(bag: Path, stamps_ns: Iterable[int], *, image: Image) -> Path:
    """A bag of images with these stamps, in ns since the world's second 0."""
    return write_images(bag, (BEGIN_S * S + ns for ns in stamps_ns), image=image, interval_ns=1)


def test_a_first_image_within_a_tick_of_its_chunks_beginning_is_encoded_once(
    tmp_path: Path,
) -> None:
    image = np.zeros((56, 56, 3), np.uint8)
    bag = stamped(tmp_path / "bag", (n * S // 2 + 5_000 for n in range(8)), image=image)
    done = export(
        [annotate(bag, range(4))], tmp_path / "out", settings=Settings(), config=CUT, validation=0
    )
    assert done
    assert done.train == {bag: 1}
    filmed = times_of(tmp_path / "out" / "videos" / "bag.mp4")
    assert filmed.stretches == ((0.0, 3.5),)


def test_a_recording_whose_clock_was_set_back_is_exported_until_then(
    bags: Path, tmp_path: Path
) -> None:
    looped = annotate(film(tmp_path / "looped", [*range(6), *range(8)]), range(6))
    done = export(
        [looped, bags / "one"], tmp_path / "out", settings=Settings(), config=CUT, validation=0
    )
    assert done
    assert not done.skipped
    filmed = times_of(tmp_path / "out" / "videos" / "looped.mp4")
    assert filmed.stretches == ((0.0, 5.5),)


def test_a_recording_that_cannot_be_encoded_is_skipped_with_the_reason(
    bags: Path, tmp_path: Path
) -> None:
    scans = np.zeros((2, 20_000, 3), np.uint8)  # wider than H.264 can be
    wide = annotate(
        stamped(tmp_path / "wide", (n * S // 2 for n in range(8)), image=scans), range(4)
    )
    done = export(
        [wide, bags / "one"], tmp_path / "out", settings=Settings(), config=CUT, validation=0
    )
    assert done
    assert done.skipped == {
        wide: f"{wide} can't be encoded as a video: Generic error in an external library"
    }
    assert [path.name for path in (tmp_path / "out" / "videos").iterdir()] == ["one.mp4"]


def test_a_recording_on_a_broken_disk_is_skipped_with_the_reason(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bags, tmp_path / "bags")
    broken = tmp_path / "bags" / "one.questions.jsonl"
    broken.symlink_to("/proc/self/mem")  # a file whose first byte can't be read
    done = export(
        [broken.parent / name for name in ("one", "two")],
        tmp_path,
        settings=Settings(),
        config=CUT,
        validation=0,
    )
    assert done
    assert done.skipped == {
        broken.parent / "one": f"can't read {broken}: [Errno 5] Input/output error"
    }

    def unplugged(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error", "a.mcap")

    broken.unlink()
    monkeypatch.setattr(exporting, "_encode", unplugged)
    done = export(
        [broken.parent / name for name in ("one", "two")],
        tmp_path,
        settings=Settings(),
        config=CUT,
        validation=0,
    )
    assert done
    assert list(done.skipped.values()) == ["[Errno 5] Input/output error: 'a.mcap'"]


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Files can't grow beyond `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_an_export_instead_of_leaving_recordings_out(
    bags: Path, tmp_path: Path
) -> None:
    with small_files(4096):
        done = run(
            "export", bags / "one", bags / "two", "--output", tmp_path / "out", "--model", "demo"
        )
    assert done.returncode == 1, done.stdout
    assert f"error: {tmp_path / 'out' / 'videos'}/" in done.stderr.splitlines()[-1]
    assert "File too large" in done.stderr
    assert not (tmp_path / "out" / "train.jsonl").exists()


@pytest.fixture
def recipe(bags: Path, tmp_path: Path) -> Path:
    paths = [bags / "one", bags / "two"]
    export(paths, tmp_path / "data", settings=Settings(), config=CUT, validation=2)
    path = tmp_path / "recipe.yaml"
    data = {side: [str(tmp_path / "data" / f"{side}.jsonl")] for side in ("train", "validation")}
    path.write_text(yaml.safe_dump({"start": "demo", "data": data}))
    return path


def test_prepare_counts_clips_and_shows_the_first(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(recipe)]) == 0
    output = capsys.readouterr().out
    words = sum(len(WORLD.caption(n).split()) for a in (0, 2, 4, 6) for n in range(a, a + 4))
    assert ["train", "4", "0.00", str(words), "0", "1"] in [
        line.split() for line in output.split("\n")
    ]
    assert f"1.0-2.0 s, 2 frames of 112 x 112: {WORLD.caption(1) or '(silent)'} ..." in output
    assert "instruction: Describe what the robot sees." in output


def test_a_frame_is_never_moved_into_the_next_chunk(tmp_path: Path) -> None:
    image = np.zeros((56, 56, 3), np.uint8)
    frames = [Frame(image, stamp_ns) for stamp_ns in (0, 500_000_000, 999_996_000)]
    exporting._encode(tmp_path / "a.mp4", frames, start_ns=0)
    assert times_of(tmp_path / "a.mp4").end_s < 1


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("video", "videos/gone.mp4", "there is no video videos/gone.mp4"),
        ("video_end", 90.0, "ends at 90 s, its images at"),
        ("video_end", 1.5, "is 1.5 s long: less than two rounds"),
        ("video_start", 2.0, "s before the clip's images: labels and images may have different"),
        ("video_end", 3.0, "words end after its last whole round, at 3 s, and are not learnt"),
    ],
)
def test_prepare_reports_clips_that_do_not_fit_their_video(
    recipe: Path, capsys: pytest.CaptureFixture[str], name: str, value: object, problem: str
) -> None:
    def change(clip: list[dict[str, list[dict[str, object]]]]) -> None:
        clip[0]["content"][0][name] = value

    edit_first_clip(recipe.parent / "data" / "train.jsonl", change)
    assert main([str(recipe)]) == 1
    assert problem in capsys.readouterr().out


def test_prepare_reports_words_out_of_order_and_empty_videos(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_first_clip(
        recipe.parent / "data" / "train.jsonl",
        lambda clip: clip[1]["content"][0]["text_stream"].reverse(),
    )
    (recipe.parent / "data" / "videos" / "two.mp4").write_bytes(b"")
    assert main([str(recipe)]) == 1
    output = capsys.readouterr().out
    assert "its words are out of order" in output
    assert "two.mp4 is empty (0 bytes) (and 3 more)" in output


def test_prepare_lists_a_problem_of_many_clips_once(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = recipe.parent / "data" / "train.jsonl"
    lines = train.read_text().replace("videos/one.mp4", "videos/gone.mp4").splitlines()
    train.write_text("\n".join([*lines, "{}", "{}", ""]))
    train.with_name("train_seeks.jsonl").unlink()
    assert main([str(recipe)]) == 1
    output = capsys.readouterr().out
    missing = f"there is no video videos/gone.mp4 below {train.parent}"
    assert f"left out: {train}, clip 1: {missing} (and {len(lines) - 1} more)\n" in output
    assert (
        f"left out: {train}, clip {len(lines) + 1}: isn't a conversation about a video: " in output
    )
    assert "(and 1 more)\n" in output


def test_a_word_may_begin_before_its_clip_but_not_end_before_it(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def check_with_word(end_s: float) -> str:
        def change(clip: list[dict[str, list[dict[str, object]]]]) -> None:
            clip[0]["content"][0]["video_start"] = 2.0
            clip[1]["content"][0]["text_stream"] = [[0.0, end_s, "slow"]]

        edit_first_clip(recipe.parent / "data" / "train.jsonl", change)
        main([str(recipe)])
        write_conversations(recipe.parent / "data" / "train.jsonl", original)
        return capsys.readouterr().out

    original = (recipe.parent / "data" / "train.jsonl").read_text().splitlines()
    assert "labels and images may have different clocks" not in check_with_word(2.5)
    assert "a word ends at 1 s, 1.00 s before the clip's images" in check_with_word(1.0)
