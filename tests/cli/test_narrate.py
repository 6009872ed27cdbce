"""`streamingvlm narrate` on a generated video."""

import json
import re
import signal
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from ..support.cli import (
    ROOT,
    TINY_CHECKPOINT,
    assert_one_error_line,
    command,
    environment,
    run,
    streamingvlm,
)
from ..support.videos import every_100_ms, write
from .webvtt import read_cues

SECONDS = 4


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A square that moves over a plain background, 10 frames per second."""
    return write_video(tmp_path_factory.mktemp("videos") / "square.mp4", SECONDS)


def write_video(path: Path, seconds: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 56
        for index in range(10 * seconds):
            image = np.full((56, 56, 3), 180, dtype=np.uint8)
            image[20:30, index % 40 : index % 40 + 10] = (200, 30, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def narrate(*arguments: object) -> subprocess.CompletedProcess[str]:
    model = () if "--model" in arguments else ("--model", TINY_CHECKPOINT)
    return run("narrate", *arguments, *model)


def test_json_lines_cover_every_second_of_the_video(video: Path) -> None:
    result = streamingvlm(
        "narrate", video, "--model", TINY_CHECKPOINT, "--format", "jsonl", "--temperature", 0
    )
    assert result.returncode == 0, result.stderr
    rounds = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(round["start_s"], round["end_s"]) for round in rounds] == [
        (second, second + 1) for second in range(SECONDS)
    ]
    assert any(round["text"] for round in rounds)


def test_vtt_is_written_to_a_file_and_is_valid(video: Path, tmp_path: Path) -> None:
    output = tmp_path / "square.vtt"
    result = narrate(video, "--format", "vtt", "--output", output)
    assert (result.returncode, result.stdout) == (0, "")
    subtitles = read_cues(output.read_text())
    assert subtitles
    assert all(0 <= start < end <= SECONDS for start, end, _ in subtitles)


def test_an_odd_video_is_narrated_and_what_is_odd_is_reported(tmp_path: Path) -> None:
    times_ms = [*every_100_ms(2, 2), 30_000, 30_500]
    path = write(tmp_path / "2026-11-26T12:30:15.mkv", times_ms, sound_s=40)
    for name in ("narrate", "replay"):
        result = run(name, path, "--model", TINY_CHECKPOINT, "--format", "jsonl")
        assert result.returncode == 0, result.stderr
        starts_s = [json.loads(line)["start_s"] for line in result.stdout.splitlines()]
        assert starts_s == [*range(2, 14), 30]
        # Some versions of FFmpeg shift pictures by the sound's first 21 ms.
        assert re.search(rf"{path.name}: its first picture comes at 2\.0\d s", result.stderr)
        assert "16.0 s have no frames" in result.stderr
        assert "cut off" not in result.stderr


def test_the_same_seed_gives_the_same_narration(video: Path) -> None:
    sampled = ("--temperature", 1, "--format", "jsonl", "--seed")
    first, again, other = (narrate(video, *sampled, seed).stdout for seed in (3, 3, 4))
    assert first == again != other


def test_the_frame_rate_is_an_option(video: Path) -> None:
    result = narrate(video, "--format", "jsonl", "--fps", 4)
    assert [json.loads(line)["frames"] for line in result.stdout.splitlines()] == [4] * SECONDS


def test_a_broken_video_is_reported_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video at all")
    assert_one_error_line(narrate(broken), "broken.mp4")


def test_a_missing_video_is_a_usage_error(tmp_path: Path) -> None:
    result = narrate(tmp_path / "none.mp4")
    assert result.returncode == 2
    assert "none.mp4" in "".join(result.stderr.split())


def test_a_missing_model_is_reported_in_one_line(video: Path) -> None:
    result = streamingvlm("narrate", video, "--model", "./no/such/folder")
    assert_one_error_line(result, "./no/such/folder")


def test_a_folder_without_a_model_is_reported_in_one_line(video: Path, tmp_path: Path) -> None:
    assert_one_error_line(narrate(video, "--model", tmp_path), str(tmp_path))


def test_settings_outside_their_range_are_usage_errors(video: Path) -> None:
    result = narrate(video, "--temperature", 9)
    assert result.returncode == 2
    assert "--temperature" in result.stderr


def test_an_instruction_that_is_not_utf_8_is_a_usage_error(video: Path) -> None:
    for option in ("--instruction", "--previous-text"):
        result = narrate(video, option, "\udcff")
        assert result.returncode == 2
        assert "UTF-8" in result.stderr


def test_a_truncated_video_is_reported(tmp_path: Path) -> None:
    complete = write_video(tmp_path / "complete.mkv", seconds=20).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(complete[: len(complete) // 2])
    result = narrate(tmp_path / "cut.mkv")
    assert result.returncode == 0
    assert "cut.mkv: its pictures end at" in result.stderr


def test_an_unwritable_output_is_a_usage_error(video: Path, tmp_path: Path) -> None:
    result = narrate(video, "--output", tmp_path / "no" / "folder.vtt")
    assert result.returncode == 2
    assert "can't write" in result.stderr


def test_the_video_itself_is_never_overwritten(video: Path, tmp_path: Path) -> None:
    content = video.read_bytes()
    link = tmp_path / "link.mp4"
    link.symlink_to(video)
    assert narrate(video, "--output", link).returncode == 2
    assert video.read_bytes() == content


def test_a_model_that_cannot_be_loaded_leaves_the_output_unchanged(
    video: Path, tmp_path: Path
) -> None:
    output = tmp_path / "earlier.txt"
    output.write_text("earlier narration")
    assert narrate(video, "--model", tmp_path, "--output", output).returncode == 1
    assert output.read_text() == "earlier narration"
    assert narrate(video, "--output", output).returncode == 0
    assert "earlier narration" not in output.read_text()


def test_a_full_disk_is_reported_in_one_line(video: Path) -> None:
    result = narrate(video, "--output", "/dev/full")
    assert result.returncode == 1
    assert "error: can't write /dev/full: No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interrupt_keeps_the_output_so_far(tmp_path: Path) -> None:
    long = write_video(tmp_path / "long.mp4", seconds=600)
    output = tmp_path / "long.jsonl"
    arguments = command(
        "narrate", long, "--model", TINY_CHECKPOINT, "--format", "jsonl", "--output", output
    )
    with subprocess.Popen(
        arguments, env=environment(), stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as child:
        try:
            wait_for_lines(output, child)
            child.send_signal(signal.SIGINT)
            _, log = child.communicate(timeout=180)
        finally:
            child.kill()
    assert child.returncode == 130, log
    assert "Stopped" in log
    assert "Traceback" not in log
    lines = output.read_text().splitlines()
    assert 2 <= len(lines) < 600
    assert all(json.loads(line) for line in lines)


def wait_for_lines(path: Path, child: subprocess.Popen[str]) -> None:
    while child.poll() is None:
        if path.exists() and path.read_text().count("\n") >= 2:
            return
        try:
            child.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    pytest.fail("the command ended before it wrote anything")
