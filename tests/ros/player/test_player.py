"""The player in a process of its own, and a narrator that watches."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from streamingvlm_ros.msg import Narration

from streamingvlm_ros.bags.cdr import encode, known_types, topic_of
from streamingvlm_ros.bags.types import Topic
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import to_ns

from ...bags.sample_bags import STRING, string
from ...support.cli import run
from ...support.world_bags import BEGIN_S, COMPRESSED, RATE_HZ, film
from ..node_process import PATIENCE_S, Process
from ..ros_peer import Peer, reliable

SECONDS = 6
QOS = "- {durability: transient_local}"
TRANSIENT_LOCAL = QoSProfile(
    depth=10,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    reliability=ReliabilityPolicy.RELIABLE,
)


def exit_code(process: Process) -> int:
    """Wait for a process to end by itself."""
    try:
        return process.child.wait(PATIENCE_S)
    finally:
        process.child.kill()


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("bags") / "world", range(SECONDS))


def test_a_played_bag_is_narrated_as_in_process(peer: Peer, bag: Path) -> None:
    result = run("replay", bag, "--model", "demo", "--format", "jsonl")
    expected = [json.loads(line)["text"] for line in result.stdout.splitlines()]
    assert len(set(expected)) > 2
    # A backlog of the whole bag: a slow machine falls behind, and drops nothing.
    parameters = {"model": "demo", "use_sim_time": "true", "backlog_chunks": SECONDS}
    with peer.process("narrator", **parameters, **reliable("/image")):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        peer.wait_for_status(lambda v: v["state"] == "active")
        with peer.process("player", bag=bag, rate=0.5) as player:
            player.child.wait(PATIENCE_S)
            last = narrations.wait(lambda n: to_ns(n.end) == (BEGIN_S + SECONDS) * S)
    received = narrations.all()
    assert last is received[-1]
    assert [n.dropped for n in received] == [0] * SECONDS
    assert [n.text for n in received] == expected
    assert [to_ns(n.start) for n in received] == [(BEGIN_S + n) * S for n in range(SECONDS)]
    # Latency in simulated time is short, although the stamps are years old.
    assert all(0 <= n.latency < 60 for n in received)


def test_messages_are_published_unchanged_with_a_monotonic_clock(
    peer: Peer, tmp_path: Path
) -> None:
    bag = film(tmp_path / "bag", range(2), kind=COMPRESSED, topics=("/image/compressed",))
    clock = peer.subscribe(Clock, "/clock")
    images = peer.subscribe(CompressedImage, "/image/compressed")
    with peer.process("player", bag=bag) as player:
        player.child.wait(PATIENCE_S)
    stamps = [to_ns(image.header.stamp) - BEGIN_S * S for image in images.all()]
    assert stamps == [n * S // RATE_HZ for n in range(2 * RATE_HZ)]
    times = [to_ns(message.clock) for message in clock.all()]
    assert times == sorted(times)
    # The clock ticks more often than the bag has messages.
    assert len(times) > len(stamps)


def test_start_s_skips_the_start_and_loop_starts_again(peer: Peer, bag: Path) -> None:
    images = peer.subscribe(Image, "/image")
    first_ns = (BEGIN_S + 4) * S
    with peer.process("player", bag=bag, rate=20.0, start_s=4.0, loop="true"):
        images.wait(lambda m: to_ns(m.header.stamp) == first_ns, after=2 * 2 * RATE_HZ)
    assert min(to_ns(m.header.stamp) for m in images.all()) == first_ns


def test_a_narrators_output_is_not_played(peer: Peer, tmp_path: Path) -> None:
    types = known_types().types
    words = encode(types["std_msgs/msg/String"](data="recorded text"))
    narration = topic_of("/narrator/narration", "streamingvlm_ros/msg/Narration")
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(narration, 1, data=b"\0\1\0\0")
        bag.write(topic_of("/narrator/text", "std_msgs/msg/String"), 2, data=words)
        bag.write(topic_of("/note", "std_msgs/msg/String"), 3 * S, data=words)
    messages = {name: peer.subscribe(String, name) for name in ("/note", "/narrator/text")}
    with peer.process("player", bag=tmp_path / "bag", loop="true", rate=4.0):
        assert messages["/note"].wait().data == "recorded text"
        messages["/note"].wait(after=2)
    assert len(messages["/narrator/text"]) == 0


def test_a_topic_whose_type_is_not_installed_is_skipped_with_a_warning(
    peer: Peer, tmp_path: Path
) -> None:
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(Topic("/odd", "no_such_msgs/msg/Odd", "int32 a"), 1, data=b"\0\1\0\0\1\0\0\0")
        types = known_types().types
        words = encode(types["std_msgs/msg/String"](data="x"))
        bag.write(topic_of("/note", "std_msgs/msg/String"), S, data=words)
    note = peer.subscribe(String, "/note")
    with peer.process("player", bag=tmp_path / "bag", loop="true") as player:
        assert note.wait().data == "x"
        assert "/odd is not played: no_such_msgs/msg/Odd is not installed" in player.log()


def test_a_start_behind_the_end_is_an_error_also_in_a_loop(peer: Peer, bag: Path) -> None:
    images = peer.subscribe(Image, "/image")
    parameters = {"bag": bag, "start_s": 1000.0, "loop": "true"}
    player = Process("player", parameters, domain=peer.domain)
    assert exit_code(player) == 1
    (line,) = [line for line in player.log().splitlines() if "can't be played" in line]
    assert re.search(r"it is [56]\.\d s long and start_s is 1000: lower start_s", line)
    assert "Traceback" not in player.log()
    assert len(images) == 0


def test_a_bag_without_playable_messages_is_an_error(peer: Peer, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(topic_of("/clock", "rosgraph_msgs/msg/Clock"), S, data=b"\0\1\0\0" + bytes(8))
    player = Process("player", {"bag": bag.folder, "loop": "true"}, domain=peer.domain)
    assert exit_code(player) == 1
    assert "it holds no message that can be played" in player.log()


BROKEN = """
import sys
from streamingvlm_ros.ros.player import node

def publish(self, now_ns):
    raise ValueError("no such time")

node.Player._publish_time = publish
sys.exit(node.main())
"""


def test_an_error_during_playback_ends_the_process_with_the_reason(
    peer: Peer, tmp_path: Path
) -> None:
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(topic_of("/note", STRING), S, data=string("never published"))
    arguments = [sys.executable, "-c", BROKEN, "--ros-args", "-p", f"bag:={bag.folder}"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(peer.domain)}
    done = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 1
    assert "can't be played: ValueError('no such time')" in done.stderr
    assert "Traceback" not in done.stderr


def test_transient_local_messages_from_before_the_start_are_published_first(
    peer: Peer, tmp_path: Path
) -> None:
    where = replace(topic_of("/where", STRING), qos=QOS)
    # The bag is not played to its end.
    texts = ("kitchen", "hall", "kitchen", "garden", "sea")
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        for second, word in zip((0, 1, 2, 9, 99), texts, strict=True):
            bag.write(where, second * S, data=string(word))
    words = peer.subscribe(String, "/where", qos=TRANSIENT_LOCAL)
    with peer.process("player", bag=tmp_path / "bag", start_s=8.0):
        words.wait(after=2)
    assert [m.data for m in words.all()] == ["hall", "kitchen", "garden"]


@pytest.fixture(scope="module")
def two_cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    topics = ("/front/image", "/rear/image")
    return film(tmp_path_factory.mktemp("bags") / "two", range(1), topics=topics)


def test_a_bag_with_two_cameras_plays_when_only_one_is_watched(
    peer: Peer, two_cameras: Path
) -> None:
    images = peer.subscribe(Image, "/rear/image")
    player = Process("player", {"bag": two_cameras, "rate": 4.0}, domain=peer.domain)
    assert exit_code(player) == 0, player.log()
    images.wait(after=RATE_HZ - 1)
    assert "nobody subscribes to /front/image: playing anyway" in player.log()


def test_only_the_chosen_camera_is_played(peer: Peer, two_cameras: Path) -> None:
    front, rear = (peer.subscribe(Image, f"/{name}/image") for name in ("front", "rear"))
    parameters = {"bag": two_cameras, "rate": 4.0, "camera": "/rear/image"}
    player = Process("player", parameters, domain=peer.domain)
    assert exit_code(player) == 0, player.log()
    rear.wait(after=RATE_HZ - 1)
    assert len(front) == 0
    assert "nobody" not in player.log()


def test_a_camera_that_is_not_in_the_bag_is_an_error_that_lists_the_cameras(
    peer: Peer, two_cameras: Path
) -> None:
    player = Process("player", {"bag": two_cameras, "camera": "/up/image"}, domain=peer.domain)
    assert exit_code(player) == 1
    why = "/up/image is not a camera in the bag; its cameras: /front/image, /rear/image"
    assert f"error: {why}" in player.log()
    assert "Traceback" not in player.log()


def test_a_long_gap_in_the_bag_is_logged(peer: Peer, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        for second in (1, 2, 7202):
            bag.write(topic_of("/note", STRING), second * S, data=string(f"{second}"))
    with peer.process("player", bag=tmp_path / "bag", rate=2.0) as player:
        pattern = r"the bag has no messages for (\d+) s: playing continues in (\d+) s"
        ((gap, wait),) = peer.until(lambda: re.findall(pattern, player.log()))
    # A part of the gap may be over when it is logged.
    assert 7100 < int(gap) <= 7200
    assert int(gap) == pytest.approx(2 * int(wait), abs=20)


def test_a_folder_that_is_not_a_bag_is_an_error_of_one_line(peer: Peer, tmp_path: Path) -> None:
    result = run("replay", tmp_path, "--live")
    assert result.returncode == 1
    assert "is not a ROS 2 bag" in result.stderr
    assert "Traceback" not in result.stderr
