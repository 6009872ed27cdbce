"""`python -m streamingvlm_ros.ros.recorder`."""

import sys

from .node import main

sys.exit(main())
