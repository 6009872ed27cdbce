"""The command line `streamingvlm`. `--help` needs neither torch nor ROS: commands import late."""

from .app import main

__all__ = ["main"]
