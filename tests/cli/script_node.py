"""A node that is a few lines of Python instead of a ROS node."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from streamingvlm_ros.cli.demo.processes import NodeSpec


@dataclass(frozen=True)
class ScriptNode(NodeSpec):
    code: str = ""

    def command(self, namespace: str) -> list[str]:
        return [sys.executable, "-c", self.code]


def script_node(code: str) -> ScriptNode:
    """A node that runs `code`."""
    return ScriptNode("child", "", {}, code)
