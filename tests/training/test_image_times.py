"""Labels whose times don't fit the images are found in videos and bags without decoding."""

from __future__ import annotations

import json
import wave
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import SourceError
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_training.datasets.conversations import line_of, write_conversations
from streamingvlm_training.datasets.cutting import CutConfig, cut

from ..support.world_bags import BEGIN_S, WORLD, film
from .recordings import (
    FRAMES,
    annotate,
    frame_times,
    load,
    looped_bag,
    narrated_bag,
    run_prepare,
    times_of,
    write_images,
    write_video,
)


def test_stretches_with_images_are_known_without_decoding(tmp_path: Path) -> None:
    unheld = replace(FRAMES, hold_last_frame=0.0)
    times = times_of(write_video(tmp_path / "a.mp4", frame_times((3, 5), (9, 10))), unheld)
    assert times.late_s == 3.0
    assert times.stretches == ((0.0, 1.9), (6.0, 6.9))
    assert times.away_s(1.0, 2.5) == times.away_s(5.0, 6.1) == 0
    assert times.away_s(2.4, 3.0) == pytest.approx(0.5)
    slow = times_of(write_video(tmp_path / "b.mp4", [0, 2, 4, 9]), unheld)
    assert (slow.frame_s, slow.stretches) == (2.0, ((0.0, 4.0), (9.0, 9.0)))


@pytest.mark.parametrize(
    ("hold_s", "stretches"),
    [(2.0, ((0.0, 3.9), (6.0, 6.9))), (4.0, ((0.0, 5.9), (6.0, 6.9))), (4.2, ((0.0, 6.9),))],
)
def test_a_video_has_an_image_while_its_picture_stands_still(
    tmp_path: Path, hold_s: float, stretches: tuple[tuple[float, float], ...]
) -> None:
    path = write_video(tmp_path / "a.mp4", frame_times((3, 5), (9, 10)))
    assert times_of(path, replace(FRAMES, hold_last_frame=hold_s)).stretches == stretches


def test_images_after_the_clock_was_set_back_do_not_count(tmp_path: Path) -> None:
    times = times_of(film(tmp_path / "bag", [*range(6), *range(9)]))
    assert times.stretches == ((0.0, 5.75),)
    assert times.back_ns == (BEGIN_S + 7 + 6) * S
    assert times_of(film(tmp_path / "once", range(6))).back_ns is None


def stamped(bag: Path, seconds: Iterable[int]) -> Path:
    """A bag of images with these stamps, a second apart by the recorder's clock."""
    stamps_ns = (second * S for second in seconds)
    return write_images(bag, stamps_ns, image=WORLD.frame(0.0, 56, 56), interval_ns=S)


def test_an_image_without_a_stamp_has_no_time(tmp_path: Path) -> None:
    bag = stamped(tmp_path / "bag", [0, BEGIN_S, 0, BEGIN_S + 1])
    assert times_of(bag).stretches == ((0.0, 1.0),)


def test_a_clock_that_was_set_while_recording_is_an_error_that_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day, days = 86_400, 20_000 * 86_400
    bag = stamped(tmp_path / "bag", [10, 11, 12, days + 13, days + 14])
    (tmp_path / "bag.srt").write_text("1\n00:00:00,000 --> 00:00:06,000\na car\n")
    code, out = run_prepare(bag, capsys)
    assert code == 1
    assert (
        f"left out: {bag}: the clock of {bag} was set while it was recorded: at 2.00 s it jumps on "
        "by 20000.0 days; split it there\n"
    ) in out
    parked = stamped(tmp_path / "parked", [10, 11, 11 + day])
    assert times_of(parked).end_s == 1 + day


def test_a_file_without_a_video_has_no_images(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    with pytest.raises(SourceError, match="has no video in it"):
        times_of(tmp_path / "a.wav")


def test_utterances_whose_words_overlap_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = write_video(tmp_path / "a.mp4", frame_times((0, 8)))
    (tmp_path / "a.srt").write_text(
        "1\n00:00:00,000 --> 00:00:06,000\nin the mean time\n\n"
        "2\n00:00:01,000 --> 00:00:02,000\nsomebody else\n"
    )
    code, out = run_prepare(recording, capsys)
    assert code == 1
    assert f"{recording}: its words are out of order: they are sorted by their ends\n" in out


def test_labels_that_fit_are_no_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run_prepare(
            annotate(write_video(tmp_path / "a.mp4", frame_times((0, 8))), range(8)), capsys
        )[0]
        == 0
    )
    assert run_prepare(annotate(film(tmp_path / "bag", range(8)), range(8)), capsys)[0] == 0
    assert run_prepare(narrated_bag(tmp_path / "narrated"), capsys)[0] == 0


@pytest.mark.parametrize(
    ("images", "seconds", "why"),
    [
        ([(3, 11)], range(8), "is at 3.00 s of the file, and seconds count from it"),
        (
            [(0, 4), (18, 22)],
            range(22),
            "words without images: 2; word15 at 15 s is 1.10 s from the nearest one",
        ),
        (
            [(0, 8)],
            range(11),
            "3 of its utterances end up to 3.00 s after",
        ),
        ([(0, 8)], range(-3, 8), "2 of its utterances end up to 2.00 s before its images"),
        (
            [(0, 4)],
            range(60, 70),
            "gives no clip: it has words from 60.00 to 70.00 s, images from 0.00 to 3.90 s",
        ),
    ],
)
def test_words_away_from_the_images_of_a_video_are_reported_with_the_distance(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    images: list[tuple[float, float]],
    seconds: range,
    why: str,
) -> None:
    code, out = run_prepare(
        annotate(write_video(tmp_path / "a.mp4", frame_times(*images)), seconds), capsys
    )
    assert code == 1
    assert why in out, out


@pytest.mark.parametrize(("hold", "second"), [(True, 15), (False, 5)])
def test_a_gap_in_a_file_of_clips_is_reported_and_no_picture_of_an_export_is_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hold: bool, second: int
) -> None:
    gap = frame_times((0, 4), (second + 3, second + 7))
    recording = annotate(write_video(tmp_path / "a.mp4", gap), range(second + 7))
    clips = cut(load(recording), CutConfig(), settings=Settings())
    records = [replace(clip, hold=hold) for clip in clips]
    folder = tmp_path / "data"
    folder.mkdir()
    write_conversations(folder / "train.jsonl", [line_of(record, folder) for record in records])
    reported = f"word{second} at {second} s is 1.10 s from"
    assert reported in run_prepare(folder / "train.jsonl", capsys)[1]


def test_words_where_a_bag_lacks_images_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film(tmp_path / "whole", range(12))
    with BagReader(tmp_path / "whole") as source, BagWriter(tmp_path / "bag", BagConfig()) as bag:
        for number, image in enumerate(source.messages()):
            if not 16 <= number < 32:
                bag.write(image.topic, image.stamp_ns, data=image.data)
    code, out = run_prepare(annotate(tmp_path / "bag", range(12)), capsys)
    assert code == 1
    assert "words without images: 2; word5 at 5 s is 1.25 s from the nearest one" in out, out


@pytest.mark.parametrize(
    ("shift_s", "header_s", "why"),
    [
        (2.5, 0.0, "8 of its narrations are about times up to 2.00 s away from their images'"),
        (-3600.0, -3600.0, "gives no clip: it has words from -3600.00 to -3592.00 s, images from"),
        (3.0, 3.0, "3 of its utterances end up to 3.00 s after"),
    ],
)
def test_narrations_by_another_clock_than_the_images_are_reported_with_the_offset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shift_s: float, header_s: float, why: str
) -> None:
    code, out = run_prepare(narrated_bag(tmp_path / "narrated", shift_s, header_s=header_s), capsys)
    assert code == 1
    assert why in out, out


def test_only_time_before_the_clock_was_set_back_is_learnt_and_this_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = looped_bag(tmp_path / "narrated")
    annotated = load(path)
    assert [word.text for word in annotated.words] == [f"word{n}" for n in range(8)]
    assert [question.time_s for question in annotated.questions] == [4.0]
    (clip, asked) = cut(annotated, CutConfig(), settings=Settings())
    assert (clip.end_s, asked.end_s) == (8.0, 4.0)
    code, out = run_prepare(path, capsys)
    assert code == 1
    assert out.count("time goes back") == 1
    assert f"{path}: time goes back at 7.75 s: nothing after it is learnt, and" in out


def test_questions_that_are_not_learnt_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = annotate(write_video(tmp_path / "a.mp4", frame_times((0, 8))), range(8))
    asked = ({"time_s": n, "question": "What?", "answer": "That."} for n in (1, 5))
    (tmp_path / "a.questions.jsonl").write_text("\n".join(map(json.dumps, asked)))
    code, out = run_prepare(path, capsys)
    assert code == 1
    assert f"{path}: 1 of its questions are not learnt: 1 without two rounds of known words" in out
