"""Recordings whose times a bag of narrations can't hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamingvlm_ros.bags.cdr import topic_of
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.errors import BagError
from streamingvlm_ros.recordings.bag_sink import BagSink, check_stamps
from streamingvlm_ros.recordings.recording import open_recording
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Narration

from ..support.cli import run
from ..support.world_bags import RAW, WORLD, message

MAX_S = 2**31


def film(folder: Path, begin_ns: int) -> Path:
    """Write a bag of images, two a second, whose camera's clock begins at `begin_ns`."""
    with BagWriter(folder, BagConfig()) as bag:
        for number in range(4):
            stamp_ns = begin_ns + number * S // 2
            image = message(WORLD.frame(0.0, 56, 56), stamp_ns)
            bag.write(topic_of("/image", RAW), (100 + number) * S, data=image)
    return folder


@pytest.mark.parametrize(
    "begin_ns", [-20 * S, -1, -S // 2, (MAX_S - 2) * S + S // 2 - 1, (MAX_S - 2) * S]
)
def test_times_that_a_bag_cannot_hold_are_an_error(tmp_path: Path, begin_ns: int) -> None:
    with (
        open_recording(film(tmp_path / "bag", begin_ns)) as recording,
        pytest.raises(BagError, match=r"1970 to 2038\); use another --format"),
    ):
        check_stamps(recording, FrameConfig())


@pytest.mark.parametrize("begin_ns", [1, 1_700_000_000 * S, (MAX_S - 3) * S - 1])
def test_all_other_times_can_be_written(tmp_path: Path, begin_ns: int) -> None:
    with open_recording(film(tmp_path / "bag", begin_ns)) as recording:
        check_stamps(recording, FrameConfig())
        chunks = [event for event in recording.chunks(FrameConfig())]
    with BagWriter(tmp_path / "narrations", BagConfig()) as bag:
        sink = BagSink(bag)
        for chunk in chunks:
            newest_ns = chunk.frames[-1].stamp_ns  # type: ignore[union-attr]
            sink(Narration("text", chunk.start_ns, chunk.end_ns, newest_ns))  # type: ignore[union-attr]


def test_nothing_is_written_if_the_times_do_not_fit(tmp_path: Path) -> None:
    recording, output = film(tmp_path / "bag", -20 * S), tmp_path / "narrations"
    result = run("replay", recording, "--model", "demo", "--format", "bag", "--output", output)
    assert result.returncode == 1
    assert "1970" in result.stderr
    assert "Traceback" not in result.stderr
    assert not output.exists()
