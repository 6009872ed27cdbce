"""`python -m streamingvlm_ros.ros.narrator`."""

import sys

from .node import main

sys.exit(main())
