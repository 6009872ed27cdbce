"""`python -m streamingvlm_ros.ros.player`."""

import sys

from .node import main

sys.exit(main())
