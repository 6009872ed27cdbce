"""Effect of questions on narration: two narrators of one camera, one of which is asked.

OMP_NUM_THREADS=1 python perf/asking_live.py --minutes 10 --every 2

Needs ROS 2. Both run at the same time, in processes of their own, and their narrations of the same
seconds are compared. Time to first token is taken from the answers and given as a multiple of one
decode step of the same model, timed on this machine at the same time. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count, islice
from typing import Any

import numpy as np
import rclpy
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from streamingvlm_ros.msg import Narration
from streamingvlm_ros.srv import Ask

from streamingvlm_ros.config import DEMO_CHECKPOINT, settings_for
from streamingvlm_ros.demo.questions import about_now
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.types import NS_PER_S, Chunk, ChunkPart, Frame

RELIABLE = {
    "qos_overrides./image.subscription.reliability": "reliable",
    "qos_overrides./image.subscription.depth": "100",
}
"""Lost images would make the narrations incomparable."""

START_S = 120
"""Longest wait for a narrator's first narration."""


@contextmanager
def process(module: str, name: str, **parameters: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a node for the block."""
    given = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
    command = ["-m", f"streamingvlm_ros.ros.{module}", "--ros-args", "-r", f"__node:={name}"]
    child = subprocess.Popen(
        [sys.executable, *command, *given], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()


def decode_step_s(steps: int = 300) -> float:
    """Return median seconds of one decode step of the shipped model with a full window."""
    engine = StreamingEngine.from_pretrained(DEMO_CHECKPOINT, settings_for(DEMO_CHECKPOINT))
    stream, world = engine.open_stream(), World(FIRST_UNSEEN_SEED)
    numbers = count()
    for second in islice(numbers, 20):
        stream.step(chunk(world, second))
    seconds: list[float] = []
    while len(seconds) < steps:
        engine.see([(stream, ChunkPart.whole(chunk(world, next(numbers))))])
        while not stream.ready:
            begin = time.perf_counter()
            engine.advance()
            seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def chunk(world: World, second: int) -> Chunk:
    """Return a chunk with the one frame of a second."""
    start = second * NS_PER_S
    return Chunk((Frame(world.frame(second, 112, 112), start),), start, start + NS_PER_S)


class Observer:
    """Listens to both narrators and asks one of them questions."""

    def __init__(self) -> None:
        self.node = Node("observer")
        self.narrations: dict[str, dict[int, Narration]] = {"quiet": {}, "asked": {}}
        self._both_began = threading.Event()
        for name, narrations in self.narrations.items():
            self._listen(name, narrations)
        self.client: Client[Any, Any] = self.node.create_client(Ask, "/asked/ask")
        self.answers: list[Ask.Response] = []

    def _listen(self, name: str, narrations: dict[int, Narration]) -> None:
        def on_narration(narration: Narration) -> None:
            narrations[narration.start.sec] = narration
            if all(self.narrations.values()):
                self._both_began.set()

        self.node.create_subscription(Narration, f"/{name}/narration", on_narration, 100)

    def ask(self, question: str) -> None:
        """Ask without waiting."""
        future = self.client.call_async(Ask.Request(question=question))
        future.add_done_callback(lambda done: self.answers.append(done.result()))

    def run(self, minutes: float, every_s: float) -> int:
        """Ask a question every `every_s`; return the number of questions."""
        random, world, asked = np.random.default_rng(0), World(FIRST_UNSEEN_SEED), 0
        if not self._both_began.wait(START_S):
            sys.exit("a narrator said nothing: try `streamingvlm narrate` on a file to see why")
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            self.ask(about_now(world.second(asked), random).question)
            asked += 1
            time.sleep(every_s * random.uniform(0.5, 1.5))
        return asked

    def report(self, asked: int, step_s: float) -> dict[str, object]:
        """Return the differences between the narrators, and the waiting times of the questions."""
        quiet, other = self.narrations["quiet"], self.narrations["asked"]
        both = sorted(set(quiet) & set(other))[:-2]
        first_s = [a.time_to_first_token for a in self.answers if a.success]
        p50, p95 = np.percentile(first_s, [50, 95])
        return {
            "asked": asked,
            "answered": len(first_s),
            "seconds": len(both),
            "narrations_that_differ": sum(quiet[s].text != other[s].text for s in both),
            "dropped_quiet": sum(quiet[s].dropped for s in both),
            "dropped_asked": sum(other[s].dropped for s in both),
            "latency_p95_ratio": round(_p95(other, both) / _p95(quiet, both), 2),
            "decode_step_ms": round(step_s * 1e3, 2),
            "first_token_p50_steps": round(float(p50) / step_s, 1),
            "first_token_p95_steps": round(float(p95) / step_s, 1),
            "first_token_p50_ms": round(float(p50) * 1e3, 1),
            "first_token_p95_ms": round(float(p95) * 1e3, 1),
        }


def _p95(narrations: dict[int, Narration], seconds: list[int]) -> float:
    return float(np.percentile([narrations[s].latency for s in seconds], 95))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=2.0)
    arguments = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
    rclpy.init()
    observer = Observer()
    executor = SingleThreadedExecutor()
    executor.add_node(observer.node)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    threading.Thread(target=spin, daemon=True).start()
    with (
        process("narrator", "quiet", model="demo", **RELIABLE) as quiet,
        process("narrator", "asked", model="demo", **RELIABLE) as asked_of,
    ):
        # Both must see the same from the first frame on, because their carried text begins there.
        while observer.node.count_subscribers("/image") < len(observer.narrations):
            if quiet.poll() is not None or asked_of.poll() is not None:
                raise SystemExit("a narrator ended before it began")
            time.sleep(0.1)
        with process("demo.synthetic_camera", "camera"):
            asked = observer.run(arguments.minutes, arguments.every)
            step_s = decode_step_s()
    print(json.dumps(observer.report(asked, step_s)))
    rclpy.shutdown()


if __name__ == "__main__":
    main()
