"""`streamingvlm replay` on bags of the synthetic world."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from streamingvlm_ros.bags.cdr import MessageDecoder
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.types import NS_PER_S as S

from ..support.cli import TINY_CHECKPOINT, run
from ..support.world_bags import BEGIN_S, film

SECONDS = 5


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("bags") / "world", range(SECONDS))


def replay(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run("replay", *arguments, "--model", TINY_CHECKPOINT)


def test_a_bag_is_narrated_in_camera_time(bag: Path, tmp_path: Path) -> None:
    result = replay(bag, "--output", tmp_path / "narration", "--format", "bag")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    decoder = MessageDecoder()
    with BagReader(tmp_path / "narration") as reader:
        assert [topic.name for topic in reader.topics] == ["/narrator/narration", "/narrator/text"]
        recorded = list(reader.messages(["/narrator/narration"]))
        narrations = [decoder.decode(message) for message in recorded]
    assert [n.start.sec for n in narrations] == [BEGIN_S + n for n in range(SECONDS)]
    assert [n.end.sec for n in narrations] == [BEGIN_S + n + 1 for n in range(SECONDS)]
    assert [r.stamp_ns for r in recorded] == [(BEGIN_S + n) * S + S // 2 for n in range(SECONDS)]
    assert {(n.header.frame_id, n.frames, n.latency) for n in narrations} == {
        ("camera_optical", 2, 0.0)
    }
    assert any(n.text for n in narrations)


def test_the_same_recording_model_and_seed_give_the_same_bytes(bag: Path, tmp_path: Path) -> None:
    def output_bytes(name: str, seed: int) -> bytes:
        output = tmp_path / name / "narration"
        sampled = ("--temperature", 1, "--seed", seed)
        result = replay(bag, "--format", "bag", "--output", output, *sampled)
        assert result.returncode == 0, result.stderr
        return b"".join(path.read_bytes() for path in sorted(output.iterdir()))

    assert output_bytes("first", 3) == output_bytes("again", 3) != output_bytes("other", 4)


def test_lines_count_seconds_from_the_start_of_the_recording(bag: Path) -> None:
    result = replay(bag, "--format", "jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["start_s"], line["end_s"]) for line in lines] == [
        (n, n + 1) for n in range(SECONDS)
    ]


def test_a_damaged_bag_is_narrated_and_its_losses_are_reported(
    tmp_path: Path,
) -> None:
    cut = film(tmp_path / "cut", range(SECONDS))
    file = cut / "cut_0.mcap"
    file.write_bytes(file.read_bytes()[:-200])
    result = replay(cut, "--format", "jsonl")
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == SECONDS
    assert "cut_0.mcap: unfinished or damaged" in result.stderr


def test_a_folder_without_a_bag_and_a_missing_camera_are_reported_in_one_line(
    bag: Path, tmp_path: Path
) -> None:
    for arguments, reason in (
        ((tmp_path,), "is not a ROS 2 bag"),
        ((bag, "--topic", "/rear/image"), "/rear/image is not a camera"),
    ):
        result = replay(*arguments)
        assert result.returncode == 1
        assert result.stderr.startswith("error: ")
        assert reason in result.stderr


def test_options_without_effect_are_usage_errors(bag: Path, tmp_path: Path) -> None:
    for options, reason in (
        (("--live", "--output", tmp_path / "narration"), "--output can't be used with --live"),
        (("--live", "--fps", 1, "--format", "text"), "--format, --fps can't be used with --live"),
        (("--rate", 1.0), "--rate needs --live"),
        (("--start", 1, "--loop"), "--loop, --start needs --live"),
    ):
        result = run("replay", bag, *options)
        assert result.returncode == 2
        assert reason in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "narration").exists()


def test_live_plays_only_the_selected_camera(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy")
    from streamingvlm_ros.ros.player import node

    played: list[node.PlayerConfig] = []
    monkeypatch.setattr(node, "main", lambda config: played.append(config) or 3)
    assert run("replay", bag, "--live", "--topic", "/image", "--rate", 2).returncode == 3
    assert run("replay", bag, "--live", "--start", 1, "--loop").returncode == 3
    assert played == [
        node.PlayerConfig(str(bag), rate=2.0, camera="/image"),
        node.PlayerConfig(str(bag), start_s=1.0, loop=True),
    ]


def test_a_bag_is_written_only_to_a_new_folder(bag: Path, tmp_path: Path) -> None:
    assert "--output" in replay(bag, "--format", "bag").stderr
    (tmp_path / "old").mkdir()
    result = replay(bag, "--format", "bag", "--output", tmp_path / "old")
    assert result.returncode == 2
    assert "name another folder" in " ".join(result.stderr.replace("│", " ").split())
    assert not list((tmp_path / "old").iterdir())
