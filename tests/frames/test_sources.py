"""Video files as sources, with real files."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import SourceError
from streamingvlm_ros.frames.video import VideoSource

S = 1_000_000_000


def write_video(path: Path, seconds: float, *, rate: int = 10, first_pts: int = 0) -> Path:
    """Every frame is grey, brighter by 20 levels each second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.bit_rate = 64, 48, 4_000_000
        for i in range(round(seconds * rate)):
            level = 20 + 20 * (i // rate)
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), "rgb24")
            picture.pts, picture.time_base = i + first_pts, Fraction(1, rate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def test_a_video_becomes_chunks_with_stamps_from_its_start(tmp_path: Path) -> None:
    source = VideoSource(write_video(tmp_path / "v.mp4", 3.2), FrameConfig(fps=2.0))
    assert source.duration_s == pytest.approx(3.2, abs=0.11)
    chunks = list(source)
    assert [(c.start_ns // S, c.end_ns // S, len(c.frames)) for c in chunks] == [
        (0, 1, 2), (1, 2, 2), (2, 3, 2), (3, 4, 1),
    ]  # fmt: skip
    assert [f.stamp_ns for c in chunks[:2] for f in c.frames] == [0, S // 2, S, 3 * S // 2]


def test_pictures_are_rgb_and_belong_to_their_second(tmp_path: Path) -> None:
    for chunk in VideoSource(write_video(tmp_path / "v.mp4", 4), FrameConfig(fps=2.0)):
        for frame in chunk.frames:
            assert frame.image.shape == (48, 64, 3)
            assert frame.image.dtype == np.uint8
            assert abs(int(frame.image.mean()) - (20 + 20 * (chunk.start_ns // S))) <= 4


def test_time_begins_with_the_first_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", 2, first_pts=37)
    assert [c.start_ns // S for c in VideoSource(path, FrameConfig(fps=2.0))] == [0, 1]


def test_a_source_can_be_read_again(tmp_path: Path) -> None:
    source = VideoSource(write_video(tmp_path / "v.mp4", 2), FrameConfig(fps=2.0))
    assert len(list(source)) == len(list(source)) == 2


@pytest.mark.parametrize("begin_s", [0.0, 1.0, 3.3])
@pytest.mark.parametrize("first_pts", [0, 37])
def test_a_span_has_the_frames_of_the_whole_in_chunks_of_its_own(
    tmp_path: Path, begin_s: float, first_pts: int
) -> None:
    path = write_video(tmp_path / "v.mkv", 8, first_pts=first_pts)
    config = FrameConfig(fps=2.0)
    chunks = list(VideoSource(path, config, span_s=(begin_s, begin_s + 3)))
    begins_ns = [round((begin_s + n) * S) for n in range(3)]
    assert [(c.start_ns, c.end_ns) for c in chunks] == [(ns, ns + S) for ns in begins_ns]
    for chunk in chunks:
        assert [f.stamp_ns for f in chunk.frames] == [chunk.start_ns, chunk.start_ns + S // 2]
        for frame in chunk.frames:
            assert abs(int(frame.image.mean()) - (20 + 20 * (frame.stamp_ns // S))) <= 4


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.mp4"):
        VideoSource(tmp_path / "nowhere.mp4", FrameConfig())


def test_a_file_that_is_no_video_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("not a video")
    with pytest.raises(SourceError, match="as a video"):
        VideoSource(tmp_path / "v.mp4", FrameConfig())


def test_a_sound_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(SourceError, match="no video"):
        VideoSource(path, FrameConfig())


def test_a_broken_file_is_read_in_part_or_is_an_error(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "v.mkv", 6).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    chunks, broken = [], False
    try:
        for chunk in VideoSource(tmp_path / "cut.mkv", FrameConfig(fps=2.0)):
            chunks.append(chunk)
    except SourceError as error:
        broken = "cut.mkv" in str(error)
    assert 1 <= len(chunks) <= 4
    assert broken or len(chunks) >= 2


@pytest.mark.parametrize("first_pts", [0, 37])
def test_a_truncated_video_is_reported_and_a_complete_one_is_not(
    tmp_path: Path, first_pts: int
) -> None:
    whole = write_video(tmp_path / "v.mkv", 10, first_pts=first_pts)
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = VideoSource(whole, FrameConfig())
    list(source)
    assert source.losses == {}
    source = VideoSource(tmp_path / "cut.mkv", FrameConfig())
    for _ in range(2):  # also when it is read again
        assert len(list(source)) < 8
        (why,) = source.losses.values()
        assert list(source.losses) == ["cut.mkv"]
        assert re.match(rf"its pictures end at 0:\d\d of 0:1[{first_pts and 3}0]: .* cut off", why)
    before = VideoSource(tmp_path / "cut.mkv", FrameConfig(), span_s=(1, 3))
    list(before)
    assert before.losses == {}


def test_long_frames_are_not_mistaken_for_truncation(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "slides.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(1, 5))
        stream.width, stream.height = 64, 48
        for _ in range(3):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    source = VideoSource(tmp_path / "slides.mkv", FrameConfig())
    assert source.duration_s == pytest.approx(15, abs=0.1)
    list(source)
    assert source.losses == {}


def test_damaged_frames_are_reported(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", 6)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    source = VideoSource(path, FrameConfig())
    list(source)
    assert re.search(r"\d+ frames? damaged", source.losses["v.mkv"])


def test_a_rotated_video_is_decoded_upright(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height = 64, 48
        lying = np.zeros((48, 64, 3), np.uint8)
        lying[:24] = 255
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(lying, "rgb24")))
        container.mux(stream.encode(None))
    # The matrix in an MP4's track header: a quarter turn clockwise, as telephones write it.
    as_it_is = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    before, header, after = path.read_bytes().partition(b"tkhd")
    path.write_bytes(before + header + after.replace(as_it_is, turned, 1))

    (chunk,) = VideoSource(path, FrameConfig())
    image = chunk.frames[0].image
    assert image.shape == (64, 48, 3)
    assert image[:, 30:].mean() > 200 > 50 > image[:, :18].mean()


def test_joined_recordings_are_refused_where_time_goes_back(tmp_path: Path) -> None:
    part = write_video(tmp_path / "part.ts", 3).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    seen = []
    with pytest.raises(SourceError, match="time goes back"):
        seen.extend(VideoSource(tmp_path / "joined.ts", FrameConfig()))
