"""The loop of docs/training.md: record, correct, export, adapt, evaluate, narrate."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamingvlm_ros.config import DEMO_CHECKPOINT, settings_for
from streamingvlm_ros.recordings.annotations import utterances_of
from streamingvlm_ros.recordings.recording import open_recording

from ..support.cli import ROOT, command, environment, streamingvlm

pytest.importorskip("rclpy", reason="recording needs ROS 2")
pytest.importorskip("streamingvlm_ros.srv", reason="recording needs this package's interfaces")

SEED = 5_200
TRUTH = "/synthetic_camera/truth"
SECONDS = 12


@pytest.mark.slow
def test_the_loop_teaches_new_things_and_keeps_known_ones(tmp_path: Path) -> None:
    bag = record(tmp_path / "bags")
    correct(bag)
    done = subprocess.run(
        [sys.executable, str(ROOT / "perf" / "loop.py"), str(tmp_path)],
        env=environment(OMP_NUM_THREADS="2", OMP_WAIT_POLICY="passive"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "videos" / f"{bag.name}.mp4").exists()
    scores = json.loads(done.stdout)
    old, new = scores["demo"], scores["adapted/model"]
    assert old["new"] < 0.5
    assert new["new"] >= 0.95
    assert new["old"] >= old["old"] - 0.02
    replay = streamingvlm("replay", bag, "--model", tmp_path / "adapted" / "model")
    assert "cyan" in replay.stdout or "ring" in replay.stdout


def record(folder: Path) -> Path:
    """Record some seconds of a camera that sees new things, in real time."""
    from streamingvlm_ros.msg import Narration

    from ..ros.ros_peer import Peer

    with Peer() as peer:
        child = subprocess.Popen(
            command("record", folder, "--keep-free-mb", "0"),
            env=environment(ROS_DOMAIN_ID=str(peer.domain)),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            truth = peer.subscribe(Narration, TRUTH)
            camera = {"seed": SEED, "new_things": True, "image_transport": "compressed"}
            with peer.process("demo.synthetic_camera", **camera):
                truth.wait(lambda message: message.sequence >= SECONDS)
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=180)
        finally:
            child.kill()
    assert child.returncode == 0, errors
    (bag,) = folder.iterdir()
    return bag


def correct(bag: Path) -> None:
    """Write the old model's narration beside the bag and correct it with the truth."""
    beside = bag.with_name(f"{bag.name}.jsonl")
    replay = streamingvlm("replay", bag, "--model", "demo", "--format", "jsonl", "--output", beside)
    assert replay.returncode == 0, replay.stderr
    lines = [json.loads(line) for line in beside.read_text().splitlines()]
    with open_recording(bag) as recording:
        start_ns = recording.start_ns(settings_for(DEMO_CHECKPOINT).frames)
        truth = {u.start_s: u.text for u in utterances_of(recording.narrations(TRUTH), start_ns)}
    # The recorder may discover the camera before the truth: those lines are not trained on.
    lines = [line for line in lines if line["start_s"] in truth]
    assert len(lines) > SECONDS / 2
    assert [line["text"] for line in lines] != [truth[line["start_s"]] for line in lines]
    for line in lines:
        line["text"] = truth[line["start_s"]]
    beside.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
