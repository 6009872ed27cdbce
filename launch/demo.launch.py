"""A synthetic camera and a narrator with the small demo model, to try things without a camera.

ros2 launch streamingvlm_ros demo.launch.py
ros2 topic echo /narrator/text
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

import launch

NARRATE = Path(get_package_share_directory("streamingvlm_ros"), "launch", "narrate.launch.py")


def generate_launch_description() -> launch.LaunchDescription:
    """Return the narrator, with the Fast DDS profile that it sets for both, and the camera."""
    return launch.LaunchDescription(
        [
            DeclareLaunchArgument(
                "seed",
                default_value="10000",
                description="Seed of the world; those from 10000 on are not in the training data.",
            ),
            DeclareLaunchArgument(
                "model", default_value="demo", description="Model, as in narrate.launch.py."
            ),
            DeclareLaunchArgument(
                "image_transport",
                default_value="raw",
                description="Image transport: raw or compressed.",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(NARRATE)),
                launch_arguments={
                    "image": "image",
                    "model": LaunchConfiguration("model"),
                    "image_transport": LaunchConfiguration("image_transport"),
                }.items(),
            ),
            Node(
                package="streamingvlm_ros",
                executable="synthetic_camera",
                name="synthetic_camera",
                parameters=[
                    {
                        "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
                        "image_transport": LaunchConfiguration("image_transport"),
                    }
                ],
                output="screen",
            ),
        ]
    )
