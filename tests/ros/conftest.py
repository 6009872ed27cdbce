"""Real nodes in processes of their own, and a node in this process that talks to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# Before rclpy is initialised, as the launch files do it.
os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds.xml"))

collect_ignore_glob = [] if find_spec("rclpy") else ["test_*.py", "*/test_*.py"]

if find_spec("rclpy"):
    from .ros_peer import Peer

    @pytest.fixture(scope="module")
    def peer() -> Iterator[Peer]:
        """Yield a node in a ROS domain that only this module's tests use."""
        with Peer() as peer:
            yield peer
