#!/bin/bash
# Sources ROS 2 and this package, then becomes the command.
set -e
# shellcheck disable=SC1090,SC1091
source "/opt/ros/${ROS_DISTRO}/setup.bash"
# shellcheck disable=SC1091
source /workspace/install/setup.bash
exec "$@"
