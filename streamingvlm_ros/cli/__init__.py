"""The command line `streamingvlm`. Commands import torch and ROS late: `--help` needs neither."""

import sys

try:
    from .app import main
except KeyboardInterrupt:  # importing takes long enough to be interrupted
    sys.exit(130)

__all__ = ["main"]
