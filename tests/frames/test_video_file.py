"""One way to open a video: any name, the right track, time 0, and what other files are."""

from __future__ import annotations

import io
from pathlib import Path

import PIL.Image
import pytest

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import SourceError
from streamingvlm_ros.frames.video import VideoSource
from streamingvlm_ros.frames.video_file import open_video
from streamingvlm_ros.recordings.recording import open_recording
from streamingvlm_ros.types import NS_PER_S as S

from ..support.videos import every_100_ms, grey, sound, two_tracks, write


def refusal(path: Path) -> str:
    """Return the error for a file that is no video."""
    with pytest.raises(SourceError) as error, open_video(path):
        pass
    assert path.name in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "2026-11-26T12:30:15.mp4",
        "pipe:0.mp4",
        "concat:a|b.mp4",
        "http:film.mp4",
        "data:film.mp4",
        "file:film.mp4",
        "film%03d.mp4",
        "100%.mp4",
        "-film.mp4",
        "a film\nof two lines.mp4",
        "a?b#c&d=e;f[0-9]*.mp4",
        "Straße 北京.mp4",
    ],
)
def test_any_name_is_that_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(tmp_path / "x.mp4", every_100_ms(2)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(list(VideoSource(Path(name), FrameConfig()))) == 2
    with open_recording(Path(name)) as recording:
        assert len(recording.image_stamps) == 20


@pytest.mark.parametrize("name", ["list.m3u8", "list.txt", "list.mp4", "list.mpd", "list.ffconcat"])
@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfilm.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile film.ts\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    ],
)
def test_a_list_of_other_files_is_not_followed(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path / "film.ts", every_100_ms(2))
    (tmp_path / name).write_text(text)
    assert "it is a list that names other files" in refusal(tmp_path / name)


def picture_file(form: str) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (64, 48)).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("drive.bag", b"#ROSBAG V2.0\n" + bytes(4096), "a ROS 1 bag: convert it with `rosbags-co"),
        ("drive.mp4", b"#ROSBAG V2.0\n" + bytes(4096), "a ROS 1 bag"),
        ("drive.mp4", b"\x89MCAP0\r\n" + bytes(99), "an MCAP bag: give it a name that ends in .mc"),
        ("drive.mp4", b"SQLite format 3\0" + bytes(99), "must end in .db3"),
        ("a.mp4", b"", "it is empty (0 bytes)"),
        ("a.mp4", bytes(4096), "it begins with zeros"),
        ("a.jpg", picture_file("JPEG"), "it is a JPEG picture, not a video"),
        ("a%03d.png", picture_file("PNG"), "it is a PNG picture, not a video"),
        ("a.mp4", picture_file("WEBP"), "it is a WebP picture, not a video"),
        ("a.bmp", picture_file("BMP"), "it is a BMP picture, not a video"),
        ("a.tiff", picture_file("TIFF"), "it is a TIFF picture, not a video"),
        ("a.mp4.zst", b"\x28\xb5\x2f\xfd" + bytes(99), "it is compressed with zstd: unpack it"),
        ("a.zip", b"PK\x03\x04" + bytes(99), "it is a zip archive: unpack it"),
        ("a.mp4", b"<!DOCTYPE html>\n<title>404</title>", "it is a web page"),
        ("a.mp4", b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
        ("a.txt", b"notes of the day\n", "it is a text file"),
        ("a.nfo", "Straße\n".encode() * 100, "it is a text file"),
        ("a.vtt", b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n", "it is a subtitle file"),
        ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n\n", "it is a text file"),
        ("a.mkv", b"\x1aE\xdf\xa3" + bytes(99), "unfinished Matroska"),
    ],
)
def test_the_error_for_another_file_names_what_it_is(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert reason in refusal(tmp_path / name)


@pytest.mark.parametrize("ending", ["mp4", "mov", "3gp"])
def test_a_recording_without_its_index_is_called_unfinished(tmp_path: Path, ending: str) -> None:
    whole = write(tmp_path / f"a.{ending}", every_100_ms(2), codec="mpeg4").read_bytes()
    unfinished = tmp_path / f"unfinished.{ending}"
    for size in (whole.find(b"moov") - 4, whole.find(b"moov") + 60):
        unfinished.write_bytes(whole[:size])
        assert "it has no index (moov box): its recorder was killed" in refusal(unfinished)


def test_a_folder_is_called_a_folder(tmp_path: Path) -> None:
    assert "it is a folder" in refusal(tmp_path)


@pytest.mark.parametrize("ending", ["mp3", "m4a", "mka"])
def test_sound_is_not_a_video(tmp_path: Path, ending: str) -> None:
    assert refusal(sound(tmp_path / f"a.{ending}")).endswith("has no video in it, only sound")


@pytest.mark.parametrize("ending", ["mp3", "m4a", "mp4"])
def test_music_with_a_cover_is_not_a_video(tmp_path: Path, ending: str) -> None:
    covered = refusal(sound(tmp_path / f"b.{ending}", cover=picture_file("JPEG")))
    assert covered.endswith("has no video in it: it is sound with a cover picture")


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_tracks_the_default_one_is_seen_and_named(tmp_path: Path, default: int) -> None:
    source = VideoSource(two_tracks(tmp_path / "v.mkv", default=default), FrameConfig())
    assert all((chunk.frames[0].image.mean() > 128) == bool(default) for chunk in source)
    assert source.notes == {"v.mkv": f"it has 2 video tracks: number {default + 1} is used"}


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.mov", "v.ts"])
def test_time_0_is_where_sound_begins_and_a_later_picture_is_reported(
    tmp_path: Path, name: str
) -> None:
    source = VideoSource(write(tmp_path / name, every_100_ms(2, 2), sound_s=4), FrameConfig())
    assert [chunk.start_ns // S for chunk in source] == [2, 3]
    assert "its first picture comes at 2.0" in source.notes[name]
    with open_recording(tmp_path / name) as recording:
        first_ns = recording.image_stamps[0].stamp_ns
    assert first_ns == next(iter(source)).frames[0].stamp_ns == pytest.approx(2 * S, abs=0.03 * S)


@pytest.mark.parametrize("name", ["v.ts", "v.mkv", "v.flv"])
def test_time_0_is_the_first_picture_of_a_film_without_sound(tmp_path: Path, name: str) -> None:
    source = VideoSource(write(tmp_path / name, every_100_ms(2, 7)), FrameConfig())
    assert [chunk.start_ns // S for chunk in source] == [0, 1]
    assert "time 0 is where players begin, at " in source.notes[name]


@pytest.mark.parametrize("name", ["v.mp4", "v.mov"])
@pytest.mark.parametrize("sound_s", [0, 3])
def test_pictures_that_an_edit_list_cuts_off_are_not_seen(
    tmp_path: Path, name: str, sound_s: int
) -> None:
    flags = {"avoid_negative_ts": "disabled"}
    path = write(tmp_path / name, every_100_ms(4, -1), sound_s=sound_s, flags=flags)
    chunks = list(VideoSource(path, FrameConfig()))
    assert [chunk.start_ns // S for chunk in chunks] == [0, 1, 2]
    assert chunks[0].frames[0].image.mean() == pytest.approx(grey(10).mean(), abs=4)
    with open_recording(path) as recording:
        assert [recording.image_stamps[n].stamp_ns for n in (0, -1)] == [0, 29 * S // 10]


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.webm"])
def test_an_ordinary_film_has_no_notes(tmp_path: Path, name: str) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    path = write(tmp_path / name, every_100_ms(2), codec=codec, sound_s=2)
    source = VideoSource(path, FrameConfig())
    assert len(list(source)) == 2
    assert (source.notes, source.losses) == ({}, {})
