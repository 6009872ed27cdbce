"""Signals during a connection to a narrator."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import typer

from streamingvlm_ros.cli.connection import connect_to_narrator

pytest.importorskip("rclpy", reason="asking needs ROS 2")
pytest.importorskip("streamingvlm_ros.action", reason="asking needs this package's interfaces")

from ..ros.ros_peer import Peer
from ..support.cli import restored_signal_handlers


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    with restored_signal_handlers():
        yield


def test_a_signal_outside_of_any_wait_ends_the_command_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Peer() as peer:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(peer.domain))
        with pytest.raises(typer.Exit) as end, connect_to_narrator("/narrator"):
            os.kill(os.getpid(), signal.SIGTERM)
    assert end.value.exit_code == 128 + signal.SIGTERM


def test_a_signal_that_was_ignored_from_the_start_stays_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Peer() as peer:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(peer.domain))
        with connect_to_narrator("/narrator"):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
