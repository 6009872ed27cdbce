"""The module that the synthetic camera was started by until version 0.1."""

import sys

if __name__ == "__main__":
    sys.exit(
        "error: the camera moved: type `python -m streamingvlm_ros.ros.demo.synthetic_camera` or "
        "`ros2 run streamingvlm_ros synthetic_camera`"
    )
