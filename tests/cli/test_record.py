"""`streamingvlm record`, which runs its node in the command's own process."""

from __future__ import annotations

import itertools
import signal
import subprocess
from pathlib import Path

import pytest

from streamingvlm_ros.bags.reader import BagReader

from ..support.cli import command, environment, run

pytest.importorskip("rclpy", reason="recording needs ROS 2")
pytest.importorskip("streamingvlm_ros.srv", reason="recording needs this package's interfaces")


def test_it_records_until_interrupted_and_prints_the_path(tmp_path: Path) -> None:
    from std_msgs.msg import String

    from ..ros.node_process import PATIENCE_S
    from ..ros.ros_peer import Peer

    options = ["--topic", "/chatter", "--compression", "none", "--keep-free-mb", "0"]
    with Peer() as peer:
        child = subprocess.Popen(
            command("record", tmp_path, *options),
            env=environment(ROS_DOMAIN_ID=str(peer.domain)),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            chatter = peer.publisher(String, "/chatter")
            ticks = itertools.count()
            peer.node.create_timer(0.05, lambda: chatter.publish(String(data=f"{next(ticks)}")))
            peer.wait_for_status(lambda v: int(v["written"]) > 3)
            child.send_signal(signal.SIGINT)
            _, log = child.communicate(timeout=PATIENCE_S)
        finally:
            child.kill()
    assert child.returncode == 0, log
    (bag,) = tmp_path.iterdir()
    assert "recording /chatter (std_msgs/msg/String)" in log
    assert f"messages are in {bag}" in log
    with BagReader(bag) as reader:
        assert [t.name for t in reader.topics] == ["/chatter"]
        assert len(list(reader.messages())) > 3
        assert reader.losses == {}


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (["--compression", "rar"], 1, "compression must be one of zstd, lz4, none"),
        (["--quota-gb", "0.1"], 1, "raise quota_gb, or lower split_mb"),
        (["--split-mb", "-1"], 2, "split-mb"),
    ],
)
def test_invalid_settings_are_reported_in_one_line(
    tmp_path: Path, options: list[str], code: int, reason: str
) -> None:
    from ..ros.ros_peer import own_domain

    domain, mark = own_domain()
    with mark:
        result = run("record", tmp_path / "bags", *options, ROS_DOMAIN_ID=str(domain))
    assert result.returncode == code
    assert reason in result.stderr
    assert "Traceback" not in result.stderr
