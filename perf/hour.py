"""An hour of an unseen world in a bag, with the truth and questions, and its evaluation.

    python perf/hour.py runs/hour                       # bag, questions, evaluation
    python perf/hour.py runs/hour --model demo --model runs/demo/model

Makes RUN/world (a bag of images and /synthetic_camera/truth) if it doesn't exist, RUN/now.jsonl
(questions about visible things) and RUN/past.jsonl (about the text window), and runs `streamingvlm
evaluate` with each of the two. A stopped run is resumed.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from streamingvlm_ros.bags.cdr import encode, known_types, topic_of
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.demo.questions import NOW, PAST, QuestionAnswer
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.types import NS_PER_S

BEGIN_S = 1_700_000_000
RATE_HZ = 2
SIDE_PX = 224
PAST_S = 11
"""Seconds that the small model's text window always holds."""
ASKED_EVERY_S = 10

CAMERA = topic_of("/image/compressed", "sensor_msgs/msg/CompressedImage")
TRUTH = topic_of("/synthetic_camera/truth", "streamingvlm_ros/msg/Narration")


def film(folder: Path, world: World, *, seconds: int) -> None:
    """Write the bag that the synthetic camera would have published. It is renamed when complete."""
    unfinished = folder.parent / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    with BagWriter(unfinished / folder.name, BagConfig()) as bag:
        for second in range(seconds):
            start_ns = (BEGIN_S + second) * NS_PER_S
            for part in range(RATE_HZ):
                stamp_ns = start_ns + part * NS_PER_S // RATE_HZ
                bag.write(
                    CAMERA, stamp_ns, data=image(world, second + part / RATE_HZ, stamp_ns=stamp_ns)
                )
            bag.write(TRUTH, start_ns, data=truth(world, second, start_ns=start_ns))
    (unfinished / folder.name).rename(folder)
    unfinished.rmdir()


def image(world: World, t_s: float, *, stamp_ns: int) -> bytes:
    """Return a PNG of the world at `t_s`."""
    types: Any = known_types().types
    packed = io.BytesIO()
    PIL.Image.fromarray(world.frame(t_s, SIDE_PX, SIDE_PX)).save(packed, "PNG")
    data = np.frombuffer(packed.getvalue(), np.uint8)
    return encode(types[CAMERA.type](header(stamp_ns), "png", data))


def truth(world: World, second: int, *, start_ns: int) -> bytes:
    """Return the one true narration of a second."""
    types: Any = known_types().types
    text = world.caption(second)
    end = stamp(start_ns + NS_PER_S)
    return encode(
        types[TRUTH.type](
            header(start_ns), stamp(start_ns), end, text, not text, "", second, 0, 0, 0.0
        )
    )


def header(stamp_ns: int) -> Any:
    """Return a header with the camera's frame_id."""
    types: Any = known_types().types
    return types["std_msgs/msg/Header"](stamp(stamp_ns), "camera_optical")


def stamp(stamp_ns: int) -> Any:
    """Return a time message."""
    types: Any = known_types().types
    return types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NS_PER_S))


def questions_now(world: World, seconds: int) -> Iterator[dict[str, Any]]:
    """Yield questions about what is visible, one of each kind in turn."""
    random, kinds = np.random.default_rng(world.seed), cycle(NOW.values())
    for at_s in range(PAST_S, seconds, ASKED_EVERY_S):
        yield line(at_s, next(kinds)(world.second(at_s - 1), random))


def questions_past(world: World, seconds: int) -> Iterator[dict[str, Any]]:
    """Yield questions about the last seconds, one of each kind in turn."""
    kinds = cycle(PAST.values())
    random = np.random.default_rng(world.seed)
    for at_s in range(PAST_S, seconds, ASKED_EVERY_S):
        past_seconds = [world.second(n) for n in range(at_s - PAST_S, at_s)]
        if asked := next(kinds)(past_seconds, random):
            yield line(at_s, asked)


def line(at_s: int, asked: QuestionAnswer) -> dict[str, Any]:
    """Return a question as a line that `streamingvlm evaluate` reads."""
    return {"time_s": at_s, "question": asked.question, "answer": asked.answer}


EVALUATIONS = {"now": (questions_now, ("stream", "recent")), "past": (questions_past, ("stream",))}
"""Files of questions, and the modes in which they are asked."""


def evaluate(run: Path, name: str, *, models: list[str], modes: tuple[str, ...]) -> int:
    """Evaluate into RUN/evaluation_NAME and return the exit code."""
    command = [sys.executable, "-m", "streamingvlm_ros.cli", "evaluate", str(run / "world")]
    command += ["--reference", TRUTH.name, "--questions", str(run / f"{name}.jsonl")]
    command += ["--output", str(run / f"evaluation_{name}")]
    command += [word for model in models for word in ("--model", model)]
    return subprocess.call([*command, *(word for mode in modes for word in ("--mode", mode))])


def main() -> int:
    """Film, ask and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--model", action="append")
    arguments = parser.parse_args()
    run, world = arguments.run, World(FIRST_UNSEEN_SEED + 50)
    for name, (questions, _) in EVALUATIONS.items():
        lines = map(json.dumps, questions(world, arguments.seconds))
        run.mkdir(parents=True, exist_ok=True)
        (run / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    if not (run / "world").exists():
        film(run / "world", world, seconds=arguments.seconds)
    models = arguments.model or ["demo"]
    return max(
        evaluate(run, name, models=models, modes=modes) for name, (_, modes) in EVALUATIONS.items()
    )


if __name__ == "__main__":
    sys.exit(main())
