"""The recorder in a process of its own, and its bags read by others."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from mcap.reader import make_reader
from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock as ClockTime
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from streamingvlm_ros.msg import Answer, Narration
from streamingvlm_ros.srv import SaveClip

from streamingvlm_ros.bags.reader import BagReader

from ..node_process import PATIENCE_S, Process
from ..ros_peer import Peer, values

TRANSIENT_LOCAL = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RECORDED_TYPES = {
    "/image": Image,
    "/image/compressed": CompressedImage,
    "/camera_info": CameraInfo,
    "/narrator/narration": Narration,
    "/narrator/answer": Answer,
    "/narrator/text": String,
}


@contextmanager
def recording(peer: Peer, folder: Path, **parameters: Any) -> Iterator[Process]:
    with peer.process("recorder", **{"folder": folder, "keep_free_mb": 0, **parameters}) as process:
        yield process


def wait_until_written(peer: Peer, folder: Path, *, messages: int) -> None:
    """Wait until the bag holds that many messages, not counting the recorder's diagnostics."""

    def is_written() -> bool:
        with BagReader(only_bag(folder)) as reader:
            return sum(r.topic.name != "/diagnostics" for r in reader.messages()) >= messages

    peer.until(is_written)


def only_bag(folder: Path) -> Path:
    (bag,) = (path for path in folder.iterdir() if path.name != "clips")
    return bag


def image(number: int, size: int = 12) -> Image:
    message = Image(height=1, width=size // 3, step=size, encoding="rgb8", data=bytes(size))
    message.header.frame_id = str(number)
    return message


def numbers(bag: Path, topic: str = "/image") -> list[int]:
    """Return the numbers of the images in a bag, complete or not."""
    with BagReader(bag) as reader:
        return [
            int(deserialize_message(recorded.data, Image).header.frame_id)
            for recorded in reader.messages([topic])
        ]


def test_messages_are_recorded_to_the_byte_and_other_readers_read_them(tmp_path: Path) -> None:
    published: dict[str, list[bytes]] = {name: [] for name in RECORDED_TYPES}
    with Peer() as peer, recording(peer, tmp_path):
        publishers = {n: peer.publisher(kind, n) for n, kind in RECORDED_TYPES.items()}
        for number in range(20):
            for name, kind in RECORDED_TYPES.items():
                message = kind(data=f"text {number}") if kind is String else kind()
                if kind is not String:
                    message.header.frame_id = f"{name} {number}"
                data = serialize_message(message)
                # DDS pads to multiples of four bytes.
                published[name].append(data + bytes(-len(data) % 4))
                publishers[name].publish(published[name][-1])
        wait_until_written(peer, tmp_path, messages=20 * len(RECORDED_TYPES))
        hashes = {
            name: str(peer.node.get_publishers_info_by_topic(name)[0].topic_type_hash)
            for name in (*RECORDED_TYPES, "/diagnostics")
        }
    bag = only_bag(tmp_path)
    (file,) = bag.glob("*.mcap")
    recorded: dict[str, list[bytes]] = {name: [] for name in RECORDED_TYPES}
    with file.open("rb") as stream:
        for schema, channel, message in make_reader(stream).iter_messages():
            assert schema
            assert (schema.encoding, channel.message_encoding) == ("ros2msg", "cdr")
            assert channel.metadata["topic_type_hash"] == hashes[channel.topic]
            recorded.setdefault(channel.topic, []).append(message.data)
    assert recorded.pop("/diagnostics")
    assert recorded == published
    with AnyReader([bag]) as reader:
        assert {c.topic: c.digest for c in reader.connections} == hashes
        texts = [
            reader.deserialize(data, c.msgtype).data
            for c, _, data in reader.messages()
            if c.topic == "/narrator/text"
        ]
    assert texts == [f"text {n}" for n in range(20)]


def test_a_best_effort_publisher_of_a_reliable_topic_is_recorded_too(tmp_path: Path) -> None:
    with Peer() as peer, recording(peer, tmp_path):
        strict = peer.publisher(Image, "/image")
        strict.publish(image(1))
        wait_until_written(peer, tmp_path, messages=1)
        loose = peer.publisher(Image, "/image", qos=qos_profile_sensor_data)
        # Best-effort messages may be lost until both sides have discovered each other.
        ticks = itertools.count(2)
        peer.node.create_timer(0.02, lambda: loose.publish(image(next(ticks))))
        wait_until_written(peer, tmp_path, messages=5)
    recorded = numbers(only_bag(tmp_path))
    assert 1 in recorded
    assert max(recorded) > 1


def test_transient_local_messages_from_before_the_start_are_in_every_file(tmp_path: Path) -> None:
    with Peer() as peer:
        transient_local = peer.node.create_publisher(String, "/map_name", TRANSIENT_LOCAL)
        transient_local.publish(String(data="kitchen"))
        with recording(peer, tmp_path, topics='["/map_name", "image"]', split_s=1):
            images = peer.publisher(Image, "/image")
            peer.node.create_timer(0.05, lambda: images.publish(image(0)))
            peer.until(lambda: len(list(tmp_path.glob("*/*.mcap"))) >= 3)
    bag = only_bag(tmp_path)
    for file in bag.glob("*.mcap"):
        with BagReader(file) as reader:
            assert {t.name for t in reader.topics} == {"/map_name", "/image"}
            (message,) = reader.messages(["/map_name"])
            assert deserialize_message(message.data, String).data == "kitchen"


def test_messages_are_stamped_in_simulated_time_from_its_start(tmp_path: Path) -> None:
    with Peer() as peer, recording(peer, tmp_path, use_sim_time=True):
        clock = peer.publisher(ClockTime, "/clock")
        peer.wait_for_status(lambda v: v["topics"] == "", len(peer.diagnostics))
        peer.publish_time(clock, 100 * 10**9)
        images = peer.publisher(Image, "/image")
        images.publish(image(1))
        wait_until_written(peer, tmp_path, messages=1)
    with BagReader(only_bag(tmp_path)) as reader:
        assert {recorded.stamp_ns for recorded in reader.messages()} == {100 * 10**9}


def test_a_clip_holds_the_moment_its_narration_and_the_correction(tmp_path: Path) -> None:
    with Peer() as peer, recording(peer, tmp_path) as process:
        images = peer.publisher(Image, "/image")
        narrations = peer.publisher(Narration, "/narrator/narration")
        for number in range(5):
            images.publish(image(number))
        narrations.publish(Narration(text="a green ball"))
        wait_until_written(peer, tmp_path, messages=6)
        request = SaveClip.Request(label="Ball", before=20.0, after=3.0, text="a red ball")
        answer = peer.call(SaveClip, "/recorder/save_clip", request)
        assert answer.success
        assert "before the request" in answer.message
        for number in range(5, 8):
            images.publish(image(number))
        finished = peer.wait_for_status(lambda v: v["clips"] == "1")
        assert finished["last clip"] == answer.path
        images.publish(image(8))
        assert f"{answer.path} is finished" in process.log()
        clip = Path(answer.path)
        assert numbers(clip) == list(range(8))
        (line,) = map(json.loads, (clip / "clip.jsonl").read_text().splitlines())
        assert (line["text"], line["corrected"]) == ("a green ball", "a red ball")
        # A clip that still grows is finished when the node ends.
        request = SaveClip.Request(label="last", before=20.0, after=3000.0)
        last = peer.call(SaveClip, "/recorder/save_clip", request)
    assert numbers(Path(last.path)) == list(range(9))
    assert (Path(last.path) / "clip.jsonl").exists()
    with BagReader(last.path) as reader:
        list(reader.messages())
        assert reader.losses == {}


@pytest.mark.parametrize("seconds", [(-1.0, 0.0), (0.0, -1.0), (float("nan"), 0.0), (0.0, 1e9)])
def test_a_clip_of_an_invalid_length_is_refused(seconds: tuple[float, float]) -> None:
    # Called without a node, which the check doesn't need.
    from types import SimpleNamespace

    from streamingvlm_ros.ros.recorder.node import RecorderNode

    request = SaveClip.Request(before=seconds[0], after=seconds[1])
    node: Any = SimpleNamespace(_now_ns=lambda: 0)
    answer = RecorderNode._save_clip(node, request, SaveClip.Response())
    assert not answer.success
    assert "0 to 3600 seconds" in answer.message


def test_dropped_messages_are_counted_by_topic_and_reported(tmp_path: Path) -> None:
    with Peer() as peer, recording(peer, tmp_path, queue_mb=1) as process:
        images = peer.publisher(Image, "/image")
        for number in range(3):
            images.publish(image(number, 3_000_000))
        status = peer.wait_for_status(lambda v: v.get("dropped: /image") == "3")
        warning = peer.diagnostics.wait(lambda m: m.status[0].level == DiagnosticStatus.WARN)
        assert "were not recorded" in warning.status[0].message
        assert status["state"] == "recording"
        images.publish(image(3))
        peer.until(lambda: "messages of /image were not recorded" in process.log())
        now = len(peer.diagnostics)
        peer.until(lambda: len(peer.diagnostics) > now + 1)
    assert numbers(only_bag(tmp_path)) == [3]


def test_a_bag_that_is_removed_is_reported_and_makes_the_recorder_fail(tmp_path: Path) -> None:
    with Peer() as peer:
        process = Process("recorder", {"folder": tmp_path, "keep_free_mb": 0}, domain=peer.domain)
        try:
            peer.publisher(Image, "/image").publish(image(1))
            wait_until_written(peer, tmp_path, messages=1)
            bag = only_bag(tmp_path)
            shutil.rmtree(bag)
            stopped = peer.diagnostics.wait(lambda m: m.status[0].level == DiagnosticStatus.ERROR)
        finally:
            code = process.end()
    assert f"recording has stopped: {bag} is gone" in stopped.status[0].message
    assert code == 1
    assert f"recording has stopped: {bag} is gone" in process.log()
    assert "kept" not in process.log()
    assert "messages are in" not in process.log()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of 5 MB; skip the test where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"a disk of 5 MB can't be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("keep_free_mb", [2, 0])
def test_a_full_disk_ends_the_recording_and_leaves_node_and_bag_intact(
    tmp_path: Path, keep_free_mb: int
) -> None:
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk"))
        peer = stack.enter_context(Peer())
        with recording(peer, disk, keep_free_mb=keep_free_mb, compression="none") as process:
            images = peer.publisher(Image, "/image")
            ticks = itertools.count()
            timer = peer.node.create_timer(0.02, lambda: images.publish(image(next(ticks), 30_000)))
            stopped = peer.wait_for_status(
                lambda v: "recording has stopped" in v["message"] and "dropped: /image" in v
            )
            peer.until(lambda: "recording has stopped" in process.log())
            # The node keeps running, refuses clips, counts losses, and ends normally.
            answer = peer.call(SaveClip, "/recorder/save_clip", SaveClip.Request(before=1.0))
            assert answer.success or "no bag can be written" in answer.message
            count = len(peer.diagnostics)
            dropped = int(stopped["dropped: /image"])  # of 30,000 bytes each
            peer.wait_for_status(lambda v: int(v["dropped: /image"]) > dropped, count)
            peer.node.destroy_timer(timer)
            last_status = values(peer.diagnostics.all()[-1])
        bag = only_bag(disk)
        recorded = numbers(bag)
        missing = recorded[-1] + 1 - recorded[0] - len(recorded)
        assert 0 <= missing <= int(last_status.get("lost on the way: /image", "0"))
        # It stopped for lack of room. Unflushed data counts twice, which is at most half.
        size = sum(map(os.path.getsize, bag.iterdir()))
        assert size + 30_000 * dropped > (5 - keep_free_mb) * 10**6 / 2
        with BagReader(bag) as reader:
            assert len(list(reader.messages())) == int(last_status["written"])
            assert (reader.losses == {}) == bool(keep_free_mb)


def seconds_lost(peer: Peer, folder: Path, *, delay_s: float) -> tuple[float, float]:
    """Kill a recorder after `delay_s`, and return the seconds lost and the longest stall.

    A stall is a time in which the machine ran neither the publisher nor, perhaps, the recorder.
    """
    process = Process("recorder", {"folder": folder, "keep_free_mb": 0}, domain=peer.domain)
    images = peer.node.create_publisher(Image, "/image", 1000)
    times: list[float] = []

    def publish() -> None:
        if images.get_subscription_count():
            times.append(time.monotonic())
            images.publish(image(len(times) - 1))

    clock = Clock(clock_type=ClockType.STEADY_TIME)
    timer = peer.node.create_timer(0.04, publish, clock=clock)
    # Slow discovery is not a loss.
    peer.until(lambda: any(folder.glob("*")) and numbers(only_bag(folder)))
    threading.Event().wait(delay_s)  # kill at a random time, which no event precedes
    process.child.send_signal(signal.SIGKILL)
    killed_s = time.monotonic()
    process.child.wait()
    peer.node.destroy_timer(timer)
    peer.node.destroy_publisher(images)
    recorded = numbers(only_bag(folder))
    assert recorded == list(range(recorded[0], recorded[0] + len(recorded)))
    stall_s = max(b - a for a, b in itertools.pairwise(sorted([*times, killed_s])))
    return killed_s - times[recorded[-1]], stall_s


def kill_and_count(tmp_path: Path, times: int) -> None:
    dice = random.Random(times)
    for number in range(times):
        # A domain each: other nodes take a while to notice that a killed one is gone.
        with Peer() as peer:
            lost_s, stall_s = seconds_lost(
                peer, tmp_path / str(number), delay_s=dice.uniform(0.2, 3.0)
            )
        print(f"{lost_s:.2f} s lost, {stall_s:.2f} s stalled")
        assert lost_s <= 1.0 + stall_s


def test_a_recorder_that_is_killed_loses_at_most_a_second(tmp_path: Path) -> None:
    kill_and_count(tmp_path, 2)


@pytest.mark.slow
def test_a_recorder_that_is_killed_twenty_times_loses_at_most_a_second_each(
    tmp_path: Path,
) -> None:
    kill_and_count(tmp_path, 20)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "set the parameter folder"),
        ({"folder": "bags", "topics": "['no topic']"}, "topics must be valid topic names"),
        ({"folder": "/dev/null/bags"}, "nothing can be recorded in /dev/null/bags"),
        ({"folder": "bags", "compression": "rar"}, "compression must be one of zstd, lz4, none"),
    ],
)
def test_an_invalid_parameter_ends_the_process_with_one_line(
    tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    if parameters.get("folder") == "bags":
        parameters = {**parameters, "folder": tmp_path / "bags"}
    with Peer() as peer:
        process = Process("recorder", parameters, domain=peer.domain)
        assert process.child.wait(PATIENCE_S) == 1
        assert re.search(message, process.log())
        assert "Traceback" not in process.log()
    assert not list(tmp_path.iterdir())
