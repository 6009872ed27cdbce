"""Recordings as chunks of one camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamingvlm_ros.bags.cdr import encode, known_types, topic_of
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import SourceError
from streamingvlm_ros.recordings.recording import is_bag, open_recording
from streamingvlm_ros.session import Reset
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Chunk

from ..support.world_bags import BEGIN_S, COMPRESSED, RATE_HZ, RAW, SIDE_PX, WORLD, film, message

FRAMES = FrameConfig()


def starts(bag: Path, *span_s: float) -> list[int]:
    """Seconds in which the chunks of a span begin."""
    begin_s, end_s = span_s
    return [chunk.start_ns // S - BEGIN_S for chunk in chunks(bag, span_s=(begin_s, end_s))]


def chunks(
    bag: Path, camera: str | None = None, *, span_s: tuple[float, float] | None = None
) -> list[Chunk]:
    with open_recording(bag, camera) as recording:
        return [e for e in recording.chunks(FRAMES, span_s) if isinstance(e, Chunk)]


@pytest.mark.parametrize("kind", [RAW, COMPRESSED])
def test_each_second_is_a_chunk_of_its_first_and_middle_frame(tmp_path: Path, kind: str) -> None:
    seen = chunks(film(tmp_path / "bag", range(3), kind=kind))
    assert [(c.start_ns, c.end_ns) for c in seen] == [
        ((BEGIN_S + n) * S, (BEGIN_S + n + 1) * S) for n in range(3)
    ]
    for second, chunk in enumerate(seen):
        assert [f.stamp_ns for f in chunk.frames] == [chunk.start_ns, chunk.start_ns + S // 2]
        for part, frame in zip((0.0, 0.5), chunk.frames, strict=True):
            assert np.array_equal(frame.image, WORLD.frame(second + part, SIDE_PX, SIDE_PX))
            assert frame.frame_id == "camera_optical"


def test_a_span_has_the_recordings_frames_in_its_own_chunks(tmp_path: Path) -> None:
    bag = film(tmp_path / "bag", range(40))
    seen = chunks(bag, span_s=(20.5, 22.5))
    begins_ns = [BEGIN_S * S + round(s * S) for s in (20.5, 21.5)]
    assert [(c.start_ns, c.end_ns) for c in seen] == [(ns, ns + S) for ns in begins_ns]
    for chunk in seen:
        assert [f.stamp_ns for f in chunk.frames] == [chunk.start_ns, chunk.start_ns + S // 2]
        for frame in chunk.frames:
            second = frame.stamp_ns / S - BEGIN_S
            assert np.array_equal(frame.image, WORLD.frame(second, SIDE_PX, SIDE_PX))


def test_a_span_ends_where_the_clock_was_set_back(tmp_path: Path) -> None:
    bag = film(tmp_path / "bag", [*range(12), *range(40)])
    assert starts(bag, 8, 12) == [8, 9, 10, 11]
    assert starts(bag, 10, 14) == [10, 11]
    assert starts(bag, 30, 34) == []


@pytest.mark.parametrize("begin_s", [0, 3, 14, 76])
def test_a_span_is_found_if_the_recorders_clock_ran_slower_than_the_cameras(
    tmp_path: Path, begin_s: int
) -> None:
    bag = film(tmp_path / "bag", range(80), rate=10)
    assert starts(bag, begin_s, begin_s + 4) == [*range(begin_s, begin_s + 4)]


def test_unusable_images_are_counted_once_if_a_span_needs_a_second_pass(
    tmp_path: Path,
) -> None:
    camera, image = topic_of("/image", RAW), WORLD.frame(0.0, SIDE_PX, SIDE_PX)
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        for n in range(30):
            stamp_ns, encoding = (BEGIN_S + n) * S, "infrared" if n == 20 else "rgb8"
            bag.write(camera, stamp_ns // 2, data=message(image, stamp_ns, encoding=encoding))
    with open_recording(tmp_path / "bag") as recording:
        assert len(list(recording.chunks(FRAMES, (20.0, 24.0)))) == 3
        assert "1 image left out: the encoding 'infrared'" in recording.losses["/image"]


def test_of_several_cameras_one_must_be_named(tmp_path: Path) -> None:
    bag = film(tmp_path / "bag", range(2), topics=("/left/image", "/right/image"))
    assert len(chunks(bag, "/right/image")) == 2
    with pytest.raises(SourceError, match=r"several cameras; .*/left/image, /right/image"):
        chunks(bag)
    with pytest.raises(
        SourceError, match=r"/up/image is not a camera in .*/left/image, /right/image"
    ):
        chunks(bag, "/up/image")


def test_the_stream_is_reset_where_the_clock_was_set_back(tmp_path: Path) -> None:
    bag = film(tmp_path / "bag", [8, 9, 2, 3])
    with open_recording(bag) as recording:
        events = list(recording.chunks(FRAMES))
    starts = [e.start_ns // S - BEGIN_S if isinstance(e, Chunk) else e for e in events]
    assert starts[:2] + starts[3:] == [8, 9, 2, 3]
    (request,) = starts[2]
    assert isinstance(request, Reset)


def test_unusable_images_are_left_out_counted_and_reported(tmp_path: Path) -> None:
    camera, image = topic_of("/image", RAW), WORLD.frame(0.0, SIDE_PX, SIDE_PX)
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        for second in range(4):
            stamp_ns = (BEGIN_S + second) * S
            bag.write(camera, stamp_ns, data=message(image, stamp_ns))
            bag.write(camera, stamp_ns, data=message(image, stamp_ns + S // 2, encoding="infrared"))
        bag.write(camera, stamp_ns, data=message(image, 0))
        bag.write(camera, stamp_ns, data=b"\0\1\0\0half a message")
    with open_recording(tmp_path / "bag") as recording:
        seen = [event for event in recording.chunks(FRAMES) if isinstance(event, Chunk)]
        assert [len(chunk.frames) for chunk in seen] == [1] * 4
        losses = recording.losses["/image"]
    assert "4 images left out: the encoding 'infrared' can't be read" in losses
    assert "1 image left out: an image has no time stamp: the camera's driver must set it" in losses
    assert "1 image left out: a message is damaged" in losses


def test_images_that_come_late_are_counted(tmp_path: Path) -> None:
    camera, image = topic_of("/image", RAW), WORLD.frame(0.0, SIDE_PX, SIDE_PX)
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        for n, tenths in enumerate((0, 5, 4, 3, 10)):
            bag.write(camera, n * S, data=message(image, BEGIN_S * S + tenths * S // 10))
    with open_recording(tmp_path / "bag") as recording:
        for _ in range(2):  # also when it is read again
            assert len(list(recording.chunks(FRAMES))) == 2
            assert recording.losses == {"/image": "2 images left out: each came after a later one"}


@pytest.mark.parametrize("kind", [RAW, COMPRESSED])
def test_a_bag_of_nothing_but_broken_images_is_an_error(tmp_path: Path, kind: str) -> None:
    image = message(WORLD.frame(0.0, SIDE_PX, SIDE_PX), BEGIN_S * S, kind=kind, encoding="infrared")
    broken = image.replace(b"\x89PNG", b"oops")
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        for second in range(2):
            bag.write(topic_of("/image", kind), second * S, data=broken)
    why = {RAW: "the encoding 'infrared'", COMPRESSED: "no JPEG, no PNG"}[kind]
    with (
        pytest.raises(SourceError, match=rf"no usable image: 2 images left out: .*{why}"),
        open_recording(tmp_path / "bag"),
    ):
        pass


def test_the_error_of_a_damaged_bag_says_that_it_is_damaged(tmp_path: Path) -> None:
    bag = film(tmp_path / "bag", range(4), config=BagConfig(split_s=2))
    (bag / "bag_1.mcap").write_bytes(b"no bag")
    with (
        pytest.raises(
            SourceError, match=r"not a camera in .*; bag_1\.mcap: nothing of it can be read"
        ),
        open_recording(bag, "/rear"),
    ):
        pass


def test_a_bag_without_a_camera_says_that_it_has_no_images(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        types = known_types().types
        text = encode(types["std_msgs/msg/String"](data="no image"))
        bag.write(topic_of("/text", "std_msgs/msg/String"), S, data=text)
    for topic in (None, "/image"):
        with (
            pytest.raises(SourceError, match=r"bag has no images$"),
            open_recording(tmp_path / "bag", topic),
        ):
            pass


def test_a_recording_has_a_start_and_a_duration(tmp_path: Path) -> None:
    bag = film(tmp_path / "bag", range(5), config=BagConfig(split_s=2))
    with open_recording(bag) as recording:
        assert recording.start_ns(FRAMES) == BEGIN_S * S
        assert recording.duration_s == pytest.approx(5 - 1 / RATE_HZ)
        assert recording.losses == {}
    cut = bag / "bag_2.mcap"
    cut.write_bytes(cut.read_bytes()[:-100])
    with open_recording(bag) as recording:
        assert len(list(recording.chunks(FRAMES))) == 5
        assert recording.duration_s is None
        assert list(recording.losses) == ["bag_2.mcap"]


def test_a_bag_without_a_usable_image_is_an_error_on_opening(
    tmp_path: Path,
) -> None:
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(topic_of("/image", RAW), 1, data=message(WORLD.frame(0.0, 56, 56), 0))
    with (
        pytest.raises(SourceError, match=r"no usable image.*stamp"),
        open_recording(tmp_path / "bag"),
    ):
        pass


def test_a_video_has_no_topics(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    with (
        pytest.raises(SourceError, match="has no topics"),
        open_recording(tmp_path / "a.mp4", "/image"),
    ):
        pass


@pytest.mark.parametrize("name", ["a.mcap", "A.MCAP", "a.Db3", "a.MCAP.zstd"])
def test_a_file_of_a_bag_is_known_by_its_ending_in_any_case(name: str) -> None:
    assert is_bag(Path(name))
    assert not is_bag(Path(f"{name}.mp4"))
