"""Throughput of the recorder with two cameras of 1920x1080 at 30 Hz.

python perf/recording.py --seconds 20 --folder /where/the/bags/go

Needs ROS 2. Cameras and recorder are processes of their own; the images are of a smooth scene with
a sensor's noise, so that they can be compressed about as well as real ones. Prints one JSON line:
for each compression the messages published, received, written, dropped by the recorder and lost
before it, the throughput, and the recorder's processor time (1 is one core) and peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from streamingvlm_ros.cli.ros_environment import use_packaged_profile

TOPICS = ("/left/image_raw", "/right/image_raw")
HEIGHT, WIDTH = 1080, 1920
SCENES = 4
"""Different images of each camera, published in turn."""
PATIENCE_S = 30.0
COMPRESSIONS = ("zstd", "lz4", "none")


def image(seed: int) -> bytes:
    """Return a serialised image."""
    noise = np.random.default_rng(seed)
    across, down = np.linspace(0, 3 + seed, WIDTH), np.linspace(0, 2, HEIGHT)[:, None]
    smooth = 128 + 100 * np.sin(across) * np.cos(down)
    picture = smooth[..., None] + noise.normal(0, 2, (HEIGHT, WIDTH, 3))
    message = Image(height=HEIGHT, width=WIDTH, step=3 * WIDTH, encoding="rgb8")
    message.data = picture.clip(0, 255).astype(np.uint8).tobytes()
    return serialize_message(message)


def publish(rate_hz: float, seconds: float) -> None:
    """Publish images once there is a subscriber, and print their number."""
    rclpy.init()
    node = Node("cameras")
    publishers = [node.create_publisher(Image, topic, 10) for topic in TOPICS]
    images = [image(seed) for seed in range(SCENES)]
    wait_until(lambda: all(p.get_subscription_count() for p in publishers))
    begin_s = time.monotonic()
    for number in range(round(rate_hz * seconds)):
        # Late images are not sent in a burst: a camera drops them, too.
        time.sleep(max(0.0, begin_s + number / rate_hz - time.monotonic()))
        for publisher in publishers:
            publisher.publish(images[number % SCENES])
    took_s = time.monotonic() - begin_s
    print(json.dumps({"published": number * 2 + 2, "took_s": round(took_s, 2)}), flush=True)
    sys.stdin.read()  # the last images are still on their way
    rclpy.shutdown()


def wait_until(condition: Any) -> None:
    """Wait for a condition that has no event in ROS."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the recorder and the cameras have not found each other")
        time.sleep(0.01)


@contextmanager
def cameras(rate_hz: float, seconds: float) -> Iterator[dict[str, Any]]:
    """Run the cameras in a process, and wait for its end."""
    command = [sys.executable, __file__, "--publish"]
    command += ["--hz", str(rate_hz), "--seconds", str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        yield json.loads(child.stdout.readline())
        child.communicate()


def measure(
    node: Node, folder: Path, *, compression: str, args: argparse.Namespace
) -> dict[str, Any]:
    """One recording."""
    diagnostics: list[dict[str, str]] = []
    listening = node.create_subscription(
        DiagnosticArray,
        "/diagnostics",
        lambda m: diagnostics.append({v.key: v.value for v in m.status[0].values}),
        10,
    )
    parameters = {"folder": folder, "compression": compression, "ring_mb": args.ring_mb}
    command = [sys.executable, "-m", "streamingvlm_ros.ros.recorder", "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    recorder = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    with cameras(args.hz, args.seconds) as published:
        # Wait until the queue is empty; the recorder's own diagnostics still arrive.
        while (
            len(diagnostics) < 3
            or int(diagnostics[-1]["received"]) > int(diagnostics[-3]["received"]) + 3
        ):
            rclpy.spin_once(node, timeout_sec=1.0)
    recorder.send_signal(signal.SIGINT)
    _, _, used = os.wait4(recorder.pid, 0)
    node.destroy_subscription(listening)
    (bag,) = folder.iterdir()
    counts = written(bag)
    dropped = [int(diagnostics[-1].get(f"dropped: {topic}", "0")) for topic in TOPICS]
    lost = [int(diagnostics[-1].get(f"lost on the way: {topic}", "0")) for topic in TOPICS]
    return {
        "compression": compression,
        **published,
        "received": sum(counts) + sum(dropped),
        "written": sum(counts),
        "dropped": sum(dropped),
        "lost": sum(lost),
        "mb_per_s": round(sum(counts) * HEIGHT * WIDTH * 3 / 1e6 / published["took_s"], 1),
        "bag_mb": sum(file.stat().st_size for file in bag.iterdir()) // 10**6,
        "cpu": round((used.ru_utime + used.ru_stime) / published["took_s"], 2),
        "peak_mb": used.ru_maxrss // 1000,
    }


def written(bag: Path) -> list[int]:
    """Count the images of each camera in a finished bag."""
    about = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    counts = {
        item["topic_metadata"]["name"]: int(item["message_count"])
        for item in about["topics_with_message_count"]
    }
    return [counts.get(topic, 0) for topic in TOPICS]


def main() -> None:
    """Measure all compressions, one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--hz", type=float, default=30.0)
    parser.add_argument("--ring-mb", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="a disk with room; default: a temporary one")
    parser.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    use_packaged_profile()
    if args.publish:
        publish(args.hz, args.seconds)
        return
    os.environ.setdefault("ROS_DOMAIN_ID", str(10 + os.getpid() % 90))
    rclpy.init()
    node = Node("benchmark")
    runs = []
    for compression in COMPRESSIONS:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            runs.append(measure(node, Path(folder), compression=compression, args=args))
    setup = {"cameras": len(TOPICS), "width": WIDTH, "height": HEIGHT, "hz": args.hz}
    print(json.dumps({**setup, "cores": os.cpu_count(), "runs": runs}))
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
