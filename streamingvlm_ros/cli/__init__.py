"""The command line `streamingvlm`. `--help` needs neither torch nor ROS: commands import late."""

import sys

try:
    from .app import main
except KeyboardInterrupt:  # the imports take long enough to be interrupted
    sys.exit(130)

__all__ = ["main"]
