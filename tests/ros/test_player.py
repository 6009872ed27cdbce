"""A bag that is played into ROS, for a narrator in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from streamingvlm_ros.msg import Narration

from streamingvlm_ros.bags.messages import encode, known_types, topic_of
from streamingvlm_ros.bags.recorded import Topic
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.ros.conversions import to_ns
from streamingvlm_ros.types import NS_PER_S as S

from ..cli.test_narrate import run
from ..recordings.scene import BEGIN_S, COMPRESSED, RATE_HZ, film
from .peer import Peer, reliable

SECONDS = 6


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("bags") / "world", range(SECONDS))


def test_a_narrator_says_of_a_played_bag_what_it_says_in_process(peer: Peer, bag: Path) -> None:
    result = run("replay", bag, "--model", "demo", "--format", "jsonl")
    expected = [json.loads(line)["text"] for line in result.stdout.splitlines()]
    assert len(set(expected)) > 2
    parameters = {"model": "demo", "use_sim_time": "true"}
    with peer.process("narrator", **parameters, **reliable("/image")):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        peer.wait_for_status(lambda v: v["state"] == "active")
        with peer.process("player", bag=bag) as player:
            player.child.wait(60)
            last = narrations.wait(lambda n: to_ns(n.end) == (BEGIN_S + SECONDS) * S)
    heard = narrations.all()
    assert last is heard[-1]
    assert [n.dropped for n in heard] == [0] * SECONDS
    assert [n.text for n in heard] == expected
    assert [to_ns(n.start) for n in heard] == [(BEGIN_S + n) * S for n in range(SECONDS)]
    # Simulated time: what is years ago came a moment ago.
    assert all(0 <= n.latency < 60 for n in heard)


def test_messages_are_published_as_they_were_with_a_clock_that_never_runs_back(
    peer: Peer, tmp_path: Path
) -> None:
    bag = film(tmp_path / "bag", range(2), COMPRESSED, topics=("/image/compressed",))
    clock = peer.subscribe(Clock, "/clock")
    images = peer.subscribe(CompressedImage, "/image/compressed")
    with peer.process("player", bag=bag, rate=4.0) as player:
        player.child.wait(60)
    stamps = [to_ns(image.header.stamp) - BEGIN_S * S for image in images.all()]
    assert stamps == [n * S // RATE_HZ for n in range(2 * RATE_HZ)]
    times = [to_ns(message.clock) for message in clock.all()]
    assert times == sorted(times)
    # More often than the bag has messages.
    assert len(times) > 2 * len(stamps)


def test_a_start_offset_leaves_out_the_beginning_and_a_loop_begins_again(
    peer: Peer, bag: Path
) -> None:
    images = peer.subscribe(Image, "/image")
    first_ns = (BEGIN_S + 4) * S
    with peer.process("player", bag=bag, rate=20.0, start_s=4.0, loop="true"):
        images.wait(lambda m: to_ns(m.header.stamp) == first_ns, after=2 * 2 * RATE_HZ)
    assert min(to_ns(m.header.stamp) for m in images.all()) == first_ns


def test_what_a_narrator_said_is_not_played(peer: Peer, tmp_path: Path) -> None:
    types = known_types().types
    words = encode(types["std_msgs/msg/String"](data="said before"))
    narration = topic_of("/narrator/narration", "streamingvlm_ros/msg/Narration")
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(narration, 1, b"\0\1\0\0")
        bag.write(topic_of("/narrator/text", "std_msgs/msg/String"), 2, words)
        bag.write(topic_of("/note", "std_msgs/msg/String"), 3 * S, words)
    heard = {name: peer.subscribe(String, name) for name in ("/note", "/narrator/text")}
    with peer.process("player", bag=tmp_path / "bag", loop="true", rate=4.0):
        assert heard["/note"].wait().data == "said before"
        heard["/note"].wait(after=2)
    assert len(heard["/narrator/text"]) == 0


def test_a_type_that_is_not_installed_is_named_and_the_rest_is_played(
    peer: Peer, tmp_path: Path
) -> None:
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(Topic("/odd", "no_such_msgs/msg/Odd", "int32 a"), 1, b"\0\1\0\0\1\0\0\0")
        types = known_types().types
        words = encode(types["std_msgs/msg/String"](data="x"))
        bag.write(topic_of("/note", "std_msgs/msg/String"), S, words)
    note = peer.subscribe(String, "/note")
    with peer.process("player", bag=tmp_path / "bag", loop="true") as player:
        assert note.wait().data == "x"
        assert "/odd is not played: no_such_msgs/msg/Odd is not installed" in player.log()


def test_what_is_no_bag_ends_it_with_one_line(peer: Peer, tmp_path: Path) -> None:
    result = run("replay", tmp_path, "--live")
    assert result.returncode == 1
    assert "is no ROS 2 bag" in result.stderr
    assert "Traceback" not in result.stderr
