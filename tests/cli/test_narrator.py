"""Signals while a narrator is asked."""

from __future__ import annotations

import os
import signal

import pytest
import typer

from streamingvlm_ros.cli.connection import narrator_at

pytest.importorskip("rclpy", reason="asking needs ROS 2")
pytest.importorskip("streamingvlm_ros.action", reason="asking needs this package's interfaces")

from ..ros.ros_peer import Peer


def test_a_signal_that_comes_when_no_wait_is_left_ends_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        with Peer() as peer:
            monkeypatch.setenv("ROS_DOMAIN_ID", str(peer.domain))
            with pytest.raises(typer.Exit) as end, narrator_at("/narrator"):
                os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, before)
    assert end.value.exit_code == 128 + signal.SIGTERM
