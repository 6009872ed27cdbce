"""Small video files of all kinds."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.stream import Disposition

from streamingvlm_ros.types import Image

MS = Fraction(1, 1000)
HEIGHT, WIDTH = 48, 64


def grey(number: int) -> Image:
    """A picture by which its number is recognised."""
    return np.full((HEIGHT, WIDTH, 3), 20 + 9 * number % 220, np.uint8)


def write(
    path: Path,
    times_ms: Sequence[int],
    *,
    picture: Callable[[int], Image] = grey,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    flags: dict[str, str] | None = None,
    sound_s: float = 0.0,
) -> Path:
    """Write a picture at each of these times, and silence of some length from time 0 on."""
    with av.open(str(path), "w", options=flags or {}) as container:
        video = container.add_stream(codec, rate=10, options=options or {})
        video.height, video.width = picture(0).shape[:2]
        video.pix_fmt, video.codec_context.time_base = pixels, MS
        if sound_s:
            name = "libopus" if path.suffix == ".webm" else "aac"
            sound = container.add_stream(name, rate=48_000)
            for number in range(int(sound_s * 50)):
                part = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), "fltp", "mono")
                part.sample_rate, part.pts = 48_000, number * 960
                part.time_base = Fraction(1, 48_000)
                container.mux(sound.encode(part))
            container.mux(sound.encode(None))
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(picture(number), "rgb24")
            frame.pts, frame.time_base = time_ms, MS
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def every_100_ms(seconds: float, begin_s: float = 0.0) -> list[int]:
    """Times of ten pictures a second."""
    return [round(1000 * begin_s) + 100 * number for number in range(round(10 * seconds))]


def set_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Let an MP4's track be shown with this matrix."""
    data, (a, b, c, d) = path.read_bytes(), matrix
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    shown = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    before, header, after = data.partition(b"tkhd")
    path.write_bytes(before + header + after.replace(plain, shown, 1))
    return path


def copy_through(source: Path, target: Path, *, bitstream_filter: str) -> Path:
    """Copy a video without encoding it again, through one of FFmpeg's bitstream filters."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copied = new.add_stream_from_template(stream)
        through = BitStreamFilterContext(bitstream_filter, stream, copied)
        packets = [filtered for p in old.demux(stream) if p.size for filtered in through.filter(p)]
        for packet in [*packets, *through.filter(None)]:
            packet.stream = copied
            new.mux(packet)
    return target


def sound(path: Path, *, cover: bytes = b"") -> Path:
    """Write a second of silence, with a JPEG as cover."""
    codec = "libmp3lame" if path.suffix == ".mp3" else "aac"
    form = "mp4" if path.suffix == ".m4a" else None  # that of .m4a accepts no cover
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=48_000)
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            picture.disposition = Disposition.attached_pic.value
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts = picture, 0, 0
            container.start_encoding()
            container.mux(packet)
        for number in range(40):
            part = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), "fltp", "mono")
            part.sample_rate, part.pts = 48_000, 1152 * number
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def two_tracks(path: Path, *, default: int) -> Path:
    """Write two seconds of a black and a white track."""
    with av.open(str(path), "w") as container:
        tracks = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for number, track in enumerate(tracks):
            track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            track.disposition = Disposition.default.value if number == default else 0
        for time_ms in every_100_ms(2):
            for number, track in enumerate(tracks):
                pixels = np.full((HEIGHT, WIDTH, 3), 255 * number, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                frame.pts, frame.time_base = time_ms, MS
                container.mux(track.encode(frame))
        for track in tracks:
            container.mux(track.encode(None))
    return path
