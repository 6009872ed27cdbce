"""The synthetic camera in a process of its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from streamingvlm_ros.msg import Narration

from streamingvlm_ros.demo.world import World
from streamingvlm_ros.frames.image_decoding import to_array
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import to_ns

from ..node_process import PATIENCE_S, Process
from ..ros_peer import Peer

RATE = 20


def test_images_show_the_world_at_their_stamps_with_true_captions() -> None:
    world = World(7)
    with Peer() as peer:
        images, truths = (
            peer.subscribe(Image, "/image"),
            peer.subscribe(Narration, "/synthetic_camera/truth"),
        )
        parameters = {"seed": 7, "rate_hz": RATE, "width_px": 140, "height_px": 112}
        with peer.process("demo.synthetic_camera", **parameters, frame_id="eye"):
            truths.wait(lambda m: m.sequence >= 2)
            images.wait(after=RATE)
        # The first caption received need not be the first one published.
        first = truths.wait()
        start_ns = to_ns(first.start) - first.sequence * S
        assert start_ns % S == 0
        stamps = [to_ns(m.header.stamp) for m in images.all()]
        assert all((ns - start_ns) % (S // RATE) == 0 for ns in stamps)
        assert all(b > a for a, b in itertools.pairwise(stamps))
        for message, ns in list(zip(images.all(), stamps, strict=True))[::7]:
            expected = world.frame((ns - start_ns) / S, 112, 140)
            assert np.array_equal(to_array(message), expected)
            assert message.header.frame_id == "eye"
        for truth in truths.all():
            assert truth.text == world.caption(truth.sequence)
            assert truth.silent == (truth.text == "")
            assert to_ns(truth.start) == start_ns + truth.sequence * S
            assert to_ns(truth.end) - to_ns(truth.start) == S


def test_the_camera_keeps_its_rate_without_drift() -> None:
    with Peer() as peer:
        arrivals: list[tuple[int, int]] = []
        clock = peer.node.get_clock()
        peer.node.create_subscription(
            CompressedImage,
            "/image/compressed",
            lambda m: arrivals.append((to_ns(m.header.stamp), clock.now().nanoseconds)),
            100,
        )
        parameters = {"rate_hz": RATE, "image_transport": "compressed"}
        with peer.process("demo.synthetic_camera", **parameters, width_px=56, height_px=56):
            peer.until(lambda: len(arrivals) > 3 * RATE)
        late_s = [(arrived - stamp) / S for stamp, arrived in arrivals]
        # The quickest of many: a busy machine delays or skips some, a drift would delay all.
        assert min(late_s) < 0.02
        assert min(late_s[-RATE:]) < min(late_s[:RATE]) + 0.02
        assert min(b - a for (a, _), (b, _) in itertools.pairwise(arrivals)) == S // RATE


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("image_transport", "carrier pigeon", "image_transport must be one of raw, compressed"),
        ("seed", -1, "seed must be a whole number between 0 and 2147483647, not -1"),
    ],
)
def test_an_invalid_parameter_ends_the_process_with_one_line(
    name: str, value: object, message: str
) -> None:
    with Peer() as peer:
        process = Process("demo.synthetic_camera", {name: value}, domain=peer.domain)
        assert process.child.wait(PATIENCE_S) == 1
        assert message in process.log()
        assert "Traceback" not in process.log()
