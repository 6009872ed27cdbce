"""Videos as people have them: damaged, cut off, of several sizes, with still pictures or sound."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import SourceError
from streamingvlm_ros.frames.video import VideoSource
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Chunk, Image

from ..support.videos import MS, every_100_ms, write

FASTSTART = {"movflags": "faststart"}
SHORT_GOPS = {"g": "10", "bf": "0"}
STILL_MS = [0, 500, 1000, 7000, 7500, 8000]


def read(
    path: Path, *, span_s: tuple[float, float] | None = None, hold_s: float = 10.0
) -> tuple[VideoSource, list[Chunk]]:
    source = VideoSource(path, FrameConfig(hold_last_frame=hold_s), span_s=span_s)
    return source, list(source)


def starts_s(chunks: list[Chunk]) -> list[int]:
    return [chunk.start_ns // S for chunk in chunks]


# Damage


def packets_of(path: Path, *, kind: str) -> list[tuple[int, int]]:
    """(position, size) of the packets of one kind of track."""
    with av.open(str(path)) as container:
        packets = (packet for packet in container.demux() if packet.stream.type == kind)
        return [(packet.pos, packet.size) for packet in packets if packet.pos and packet.size]


def overwrite(path: Path, packets: list[tuple[int, int]]) -> Path:
    data = bytearray(path.read_bytes())
    for begin, size in packets:
        data[begin : begin + size] = bytes(size)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
@pytest.mark.parametrize("name", ["v.mp4", "v.mov"])
@pytest.mark.parametrize("first", [55, 97])
def test_a_film_goes_on_after_damaged_packets(
    tmp_path: Path, name: str, codec: str, first: int
) -> None:
    path = write(tmp_path / name, every_100_ms(12), codec=codec, options=SHORT_GOPS)
    source, chunks = read(overwrite(path, packets_of(path, kind="video")[first : first + 5]))
    assert starts_s(chunks) == [*range(12)]
    assert "damaged" in source.losses[name]


@pytest.mark.parametrize("name", ["v.mkv", "v.ts", "v.flv"])
def test_a_film_goes_on_where_its_container_is_damaged(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, every_100_ms(12), options=SHORT_GOPS)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    assert starts_s(read(path)[1]) == [*range(12)]


def test_many_damaged_places_cost_no_second(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", every_100_ms(12), options=SHORT_GOPS)
    source, chunks = read(overwrite(path, packets_of(path, kind="video")[4::10]))
    assert starts_s(chunks) == [*range(12)]
    assert "damaged" in source.losses["v.mp4"]


@pytest.mark.parametrize("count", [1, 3])
def test_damage_at_the_end_costs_no_more_than_the_end(tmp_path: Path, count: int) -> None:
    path = write(tmp_path / "v.mp4", every_100_ms(6), options=SHORT_GOPS)
    source, chunks = read(overwrite(path, packets_of(path, kind="video")[-count:]))
    assert starts_s(chunks) == [*range(6)]
    assert "damaged" in source.losses["v.mp4"]


@pytest.mark.parametrize("count", [1, 10])
def test_a_film_that_is_damaged_at_its_beginning_is_read_from_its_next_key_frame(
    tmp_path: Path, count: int
) -> None:
    path = write(tmp_path / "v.mp4", every_100_ms(6), options=SHORT_GOPS)
    source, chunks = read(overwrite(path, packets_of(path, kind="video")[:count]))
    assert starts_s(chunks)[-5:] == [1, 2, 3, 4, 5]
    assert "damaged" in source.losses["v.mp4"]


def test_damaged_sound_doesnt_matter(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", every_100_ms(6), sound_s=6)
    source, chunks = read(overwrite(path, packets_of(path, kind="audio")))
    assert starts_s(chunks) == [*range(6)]
    assert source.losses == {}


def test_a_film_of_nothing_but_damage_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", every_100_ms(3))
    overwrite(path, packets_of(path, kind="video"))
    with pytest.raises(SourceError, match=r"no frame of .*v\.mp4 can be decoded: it is damaged or"):
        read(path)


@pytest.mark.parametrize(
    ("name", "codec", "flags"),
    [
        ("v.mkv", "libx264", {}),
        ("v.webm", "libvpx", {}),
        ("v.mp4", "mpeg4", FASTSTART),
    ],
)
def test_a_truncated_film_is_reported_as_such(
    tmp_path: Path, name: str, codec: str, flags: dict[str, str]
) -> None:
    path = write(tmp_path / name, every_100_ms(10), codec=codec, options={"g": "10"}, flags=flags)
    cut = packets_of(path, kind="video")[60][0] + 5
    path.write_bytes(path.read_bytes()[:cut])
    source, chunks = read(path)
    assert 4 <= len(chunks) <= 7
    assert "or was cut off" in source.losses[name]


# Sound


@pytest.mark.parametrize("name", ["v.mkv", "v.webm", "v.mp4", "v.mov", "v.ts"])
@pytest.mark.parametrize("sound_s", [1, 8])
def test_longer_or_shorter_sound_is_no_damage(tmp_path: Path, name: str, sound_s: int) -> None:
    codec = "libvpx" if name == "v.webm" else "libx264"
    path = write(tmp_path / name, every_100_ms(4), codec=codec, sound_s=sound_s)
    source, chunks = read(path)
    assert starts_s(chunks) == [0, 1, 2, 3]
    assert source.losses == {}


@pytest.mark.parametrize("sound_s", [3, 10])
def test_a_truncated_film_with_sound_is_reported_as_such(tmp_path: Path, sound_s: int) -> None:
    path = tmp_path / "v.mkv"
    with_sound = write(path, every_100_ms(10), sound_s=sound_s, options={"g": "10"})
    last = packets_of(with_sound, kind="video")[60][0]
    path.write_bytes(path.read_bytes()[:last])
    assert "or was cut off" in read(path)[0].losses["v.mkv"]


# Sizes


def _same(pixels: Image, _: int) -> Image:
    return pixels


def joined(path: Path, sizes: list[tuple[int, int]], *, part_s: float) -> Path:
    """A WebM film whose pictures change their size: parts, joined packet by packet."""
    parts = []
    for number, (width, height) in enumerate(sizes):
        pixels = np.full((height, width, 3), 40 * number, np.uint8)
        part = path.with_name(f"part{number}.webm")
        picture = partial(_same, pixels)
        parts.append(write(part, every_100_ms(part_s), codec="libvpx", picture=picture))
    with av.open(str(path), "w") as container:
        stream = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as source:
                stream = stream or container.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.pts is not None:
                        packet.stream, offset = stream, round(part_s * number / MS)
                        packet.pts, packet.dts = packet.pts + offset, packet.pts + offset
                        container.mux(packet)
    return path


@pytest.mark.parametrize("part_s", [1.5, 0.4])
@pytest.mark.parametrize("sizes", [[(64, 48), (32, 24), (64, 48)], [(64, 48), (48, 64)]])
def test_frames_of_another_size_than_the_newest_of_a_round_are_left_out(
    tmp_path: Path, sizes: list[tuple[int, int]], part_s: float
) -> None:
    path = joined(tmp_path / "v.webm", sizes, part_s=part_s)
    source, chunks = read(path)
    assert starts_s(chunks) == [*range(len(chunks))]
    assert len(chunks) == -(-len(sizes) * round(part_s * 10) // 10)
    for chunk in chunks:
        assert len({frame.image.shape for frame in chunk.frames}) == 1
    assert "left out: their size changed within a round" in source.losses["v.webm"]
    for second in range(len(chunks)):
        (alone,) = read(path, span_s=(second, second + 1))[1]
        assert [frame.stamp_ns for frame in alone.frames] == [
            frame.stamp_ns for frame in chunks[second].frames
        ]


# Still pictures


@pytest.mark.parametrize(
    ("name", "codec"),
    [("v.mp4", "libx264"), ("v.mkv", "libx264"), ("v.webm", "libvpx"), ("v.ts", "libx264")],
)
def test_a_picture_that_stands_still_is_seen_until_the_next(
    tmp_path: Path, name: str, codec: str
) -> None:
    source, chunks = read(write(tmp_path / name, STILL_MS, codec=codec))
    assert starts_s(chunks) == [*range(9)]
    assert [len(chunk.frames) for chunk in chunks] == [2] * 8 + [1]
    levels = [round(float(chunk.frames[-1].image.mean())) for chunk in chunks]
    assert len(set(levels[1:7])) == 1
    assert levels[0] != levels[1] != levels[7]
    assert source.losses == {}


def test_a_picture_is_held_for_the_time_of_the_setting_and_the_rest_is_reported(
    tmp_path: Path,
) -> None:
    source, chunks = read(write(tmp_path / "v.mp4", STILL_MS), hold_s=3.0)
    assert starts_s(chunks) == [0, 1, 2, 3, 7, 8]
    assert "longer than hold_last_frame, 3 s: 3.0 s have no frames" in source.notes["v.mp4"]
    assert starts_s(read(write(tmp_path / "v.mp4", STILL_MS), hold_s=0.0)[1]) == [0, 1, 7, 8]


@pytest.mark.parametrize("hold_s", [10.0, 2.5, 0.0])
def test_the_last_picture_is_held_until_the_end_of_its_track(tmp_path: Path, hold_s: float) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.codec_context.time_base = 64, 48, MS
        for time_ms, length_ms in ((0, 500), (500, 6500)):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            frame.pts, frame.time_base = time_ms, MS
            for packet in stream.encode(frame):
                packet.duration = round(length_ms * MS / packet.time_base)
                container.mux(packet)
    source, chunks = read(path, hold_s=hold_s)
    assert starts_s(chunks) == [*range({10.0: 7, 2.5: 3, 0.0: 1}[hold_s])]
    assert source.losses == {}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("v.mp4", "libx264", {"g": "30"}),
        ("v.mp4", "libx264", {"g": "30", "x264-params": "open-gop=1"}),
        ("v.mkv", "libx264", {"x264-params": "intra-refresh=1"}),
        ("v.ts", "libx264", {"g": "30"}),
        ("v.flv", "libx264", {"g": "30"}),
        ("v.avi", "mpeg4", {"g": "30"}),
        ("v.webm", "libvpx", {"g": "30"}),
        ("v.mov", "libx265", {"g": "30"}),
        ("v.mkv", "mpeg4", {"g": "400"}),
    ],
)
@pytest.mark.parametrize(
    "times_ms",
    [every_100_ms(12), [0, 500, 1000, 4000, 4300, 8100, 8200, 11_900], every_100_ms(9, 3)],
    ids=["even", "still", "late"],
)
def test_a_span_has_the_frames_of_the_whole_film(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], times_ms: list[int]
) -> None:
    path = write(tmp_path / name, times_ms, codec=codec, options=options)
    whole = {frame.stamp_ns: frame for chunk in read(path)[1] for frame in chunk.frames}
    for begin_s in (1, 3, 6, 7):
        span = [f for c in read(path, span_s=(begin_s, begin_s + 3))[1] for f in c.frames]
        expected = [ns for ns in whole if begin_s * S <= ns < (begin_s + 3) * S]
        assert [frame.stamp_ns for frame in span] == expected
        for frame in span:
            assert np.array_equal(frame.image, whole[frame.stamp_ns].image)
