"""Recordings with words: videos, and bags of the synthetic world."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml

from streamingvlm_ros.bags.cdr import encode, known_types, topic_of
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.config import FrameConfig, Settings
from streamingvlm_ros.recordings.recording import open_recording
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Image
from streamingvlm_training.datasets.cutting import AnnotatedRecording, load_annotated
from streamingvlm_training.datasets.image_times import ImageTimes, image_times
from streamingvlm_training.prepare import main

from ..support.world_bags import BEGIN_S, RATE_HZ, RAW, film, message

FRAMES = Settings().frames
NARRATION = topic_of("/truth", "streamingvlm_ros/msg/Narration")
ANSWER = topic_of("/narrator/answer", "streamingvlm_ros/msg/Answer")


def write_video(path: Path, times_s: Iterable[float]) -> Path:
    """Write grey pictures at these seconds of the file; B-frames change their order in it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", options={"preset": "ultrafast", "bf": "2"})
        stream.width = stream.height = 56
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
        for number, time_s in enumerate(times_s):
            picture = av.VideoFrame.from_ndarray(np.full((56, 56, 3), number % 200, np.uint8))
            picture = picture.reformat(56, 56, "yuv420p")
            picture.pts, picture.time_base = round(90_000 * time_s), stream.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def frame_times(*spans_s: tuple[float, float]) -> list[float]:
    """Ten pictures a second in each span."""
    return [n / 10 for begin_s, end_s in spans_s for n in range(int(begin_s * 10), int(end_s * 10))]


def annotate(recording: Path, seconds: Iterable[float]) -> Path:
    """Put a file of words beside a recording: one word for each of these seconds."""
    lines = ({"start_s": n, "end_s": n + 1, "text": f"word{n:g}"} for n in seconds)
    recording.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, lines)))
    return recording


def write_images(bag: Path, stamps_ns: Iterable[int], *, image: Image, interval_ns: int) -> Path:
    """Write a bag of one image with these stamps, `interval_ns` apart by the recorder's clock."""
    camera = topic_of("/image", RAW)
    with BagWriter(bag, BagConfig()) as writer:
        for number, stamp_ns in enumerate(stamps_ns):
            writer.write(camera, number * interval_ns, data=message(image, stamp_ns))
    return bag


def narrated_bag(folder: Path, shift_s: float = 0.0, *, header_s: float = 0.0) -> Path:
    """Write a bag of 8 seconds, each with a narration of one word.

    `shift_s` is how late the narrations' times are, `header_s` how late their images' stamps.
    """
    film(folder.with_name("filmed"), range(8))
    with BagReader(folder.with_name("filmed")) as filmed, BagWriter(folder, BagConfig()) as bag:
        for image in filmed.messages():
            bag.write(image.topic, image.stamp_ns, data=image.data)
        newest_ns = image.stamp_ns
        for data in _narrations(shift_s, header_s):
            bag.write(NARRATION, newest_ns, data=data)
    return folder


def looped_bag(folder: Path) -> Path:
    """Write 8 seconds played twice, with their narrations and a question after 4 s of each."""
    film(folder.with_name("filmed"), [*range(8), *range(8)])
    with BagReader(folder.with_name("filmed")) as filmed, BagWriter(folder, BagConfig()) as bag:
        narrations = iter([*_narrations(0, 0), *_narrations(0, 0)])
        for number, image in enumerate(filmed.messages()):
            bag.write(image.topic, image.stamp_ns, data=image.data)
            if number % RATE_HZ == RATE_HZ - 1:
                bag.write(NARRATION, image.stamp_ns, data=next(narrations))
            if number % (8 * RATE_HZ) == 4 * RATE_HZ:
                bag.write(ANSWER, image.stamp_ns, data=answer(4))
    return folder


def answer(second: int) -> bytes:
    """An answer about this second."""
    types: Any = known_types().types
    stamp = types["builtin_interfaces/msg/Time"](BEGIN_S + second, 0)
    return encode(
        types[ANSWER.type](
            header=types["std_msgs/msg/Header"](stamp, ""),
            question="What?",
            camera="",
            mode="stream",
            answer="That.",
            message="",
            seen_from=stamp,
            seen_until=stamp,
            moments=[],
            time_to_first_token=0.0,
            tokens=1,
            remembered=False,
        )
    )


def run_prepare(source: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Check a source of training data. Returns the exit code and the report."""
    recipe = source.parent / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"start": "demo", "data": {"train": [str(source)]}}))
    return main([str(recipe)]), capsys.readouterr().out


def load(path: Path, frames: FrameConfig = FRAMES) -> AnnotatedRecording:
    """The recording with its words."""
    with open_recording(path) as recording:
        return load_annotated(recording, frames)


def times_of(path: Path, frames: FrameConfig = FRAMES) -> ImageTimes:
    """When the recording has images."""
    with open_recording(path) as recording:
        return image_times(recording, frames)


def _narrations(shift_s: float, header_s: float) -> Iterator[bytes]:
    types: Any = known_types().types
    for second in range(8):
        begin_ns = (BEGIN_S + second) * S
        stamps = (
            begin_ns + S // 2 + int(header_s * S),
            *(begin_ns + int(shift_s * S) + n for n in (0, S)),
        )
        newest, start, end = (types["builtin_interfaces/msg/Time"](*divmod(n, S)) for n in stamps)
        yield encode(
            types[NARRATION.type](
                header=types["std_msgs/msg/Header"](newest, ""),
                start=start,
                end=end,
                text=f"word{second}",
                silent=False,
                camera="",
                sequence=second,
                frames=2,
                dropped=0,
                latency=0.5,
            )
        )
