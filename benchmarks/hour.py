"""An hour of an unseen world in a bag, with the truth and questions, and how it is scored.

    python benchmarks/hour.py runs/hour                       # bag, questions, evaluation
    python benchmarks/hour.py runs/hour --model demo --model runs/demo/model

Makes RUN/world (a bag of images and /synthetic_camera/truth) and RUN/world.questions.jsonl, if
they are not there, and runs `streamingvlm evaluate` on them. A stopped run goes on.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from streamingvlm_ros.bags.messages import encode, known_types, topic_of
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.demo.questions import NOW, PAST
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.types import NS_PER_S

BEGIN_S = 1_700_000_000
RATE_HZ = 2
SIDE_PX = 224
PAST_S = 11
"""Seconds that the small model's text window surely holds."""
ASKED_EVERY_S = 10

CAMERA = topic_of("/image/compressed", "sensor_msgs/msg/CompressedImage")
TRUTH = topic_of("/synthetic_camera/truth", "streamingvlm_ros/msg/Narration")


def film(folder: Path, world: World, seconds: int) -> None:
    """The bag: what the synthetic camera would have published."""
    with BagWriter(folder, BagConfig()) as bag:
        for second in range(seconds):
            start_ns = (BEGIN_S + second) * NS_PER_S
            for part in range(RATE_HZ):
                stamp_ns = start_ns + part * NS_PER_S // RATE_HZ
                bag.write(CAMERA, stamp_ns, image(world, second + part / RATE_HZ, stamp_ns))
            bag.write(TRUTH, start_ns, truth(world, second, start_ns))


def image(world: World, t_s: float, stamp_ns: int) -> bytes:
    """A PNG of the world at `t_s`."""
    types: Any = known_types().types
    packed = io.BytesIO()
    PIL.Image.fromarray(world.frame(t_s, SIDE_PX, SIDE_PX)).save(packed, "PNG")
    data = np.frombuffer(packed.getvalue(), np.uint8)
    return encode(types[CAMERA.type](header(stamp_ns), "png", data))


def truth(world: World, second: int, start_ns: int) -> bytes:
    """The one true narration of a second."""
    types: Any = known_types().types
    text = world.caption(second)
    end = stamp(start_ns + NS_PER_S)
    return encode(
        types[TRUTH.type](
            header(start_ns), stamp(start_ns), end, text, not text, "", second, 0, 0, 0.0
        )
    )


def header(stamp_ns: int) -> Any:
    """With the camera's frame_id."""
    types: Any = known_types().types
    return types["std_msgs/msg/Header"](stamp(stamp_ns), "camera_optical")


def stamp(stamp_ns: int) -> Any:
    """As a message."""
    types: Any = known_types().types
    return types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NS_PER_S))


def questions(world: World, seconds: int) -> Iterator[dict[str, Any]]:
    """One of each kind in turn: of now, and of what the text window holds."""
    random, kinds = np.random.default_rng(world.seed), [*NOW, *PAST]
    for number, at_s in enumerate(range(PAST_S, seconds, ASKED_EVERY_S)):
        told = [world.second(n) for n in range(at_s - PAST_S, at_s)]
        kind = kinds[number % len(kinds)]
        asked = NOW[kind](told[-1], random) if kind in NOW else PAST[kind](told, random)
        if asked:
            yield {"time_s": at_s, "question": asked.question, "answer": asked.answer}


def main() -> int:
    """Film, ask and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--model", action="append")
    arguments = parser.parse_args()
    world, bag = World(FIRST_UNSEEN_SEED + 50), arguments.run / "world"
    if not bag.exists():
        film(bag, world, arguments.seconds)
        lines = map(json.dumps, questions(world, arguments.seconds))
        (arguments.run / "world.questions.jsonl").write_text("\n".join(lines) + "\n")
    models = [word for model in arguments.model or ["demo"] for word in ("--model", model)]
    command = [sys.executable, "-m", "streamingvlm_ros.cli", "evaluate", str(bag)]
    command += ["--reference", TRUTH.name, "--output", str(arguments.run / "evaluation")]
    return subprocess.call([*command, *models, "--mode", "stream", "--mode", "recent"])


if __name__ == "__main__":
    sys.exit(main())
