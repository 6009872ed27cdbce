"""A player of a bag, and a narrator that watches it in the bag's time.

ros2 launch streamingvlm_ros replay.launch.py bag:=drive image:=/camera/image_raw model:=…
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

PLAYED = {
    "bag": (str, None, "The bag: a rosbag2 folder, or one of its files."),
    "rate": (float, "1.0", "Playback speed; 1 is the speed of the recording."),
    "start_s": (float, "0.0", "Seconds to skip at the start of the bag."),
    "loop": (bool, "false", "true starts again at the end."),
}
"""Arguments that are the player's parameters: type, default, description."""

PASSED_ON = {
    "image": ("image", "Image topic in the bag to narrate."),
    "model": ("", "Model, as in narrate.launch.py."),
    "image_transport": ("", "Image transport: raw or compressed."),
}
"""Arguments of the narrator."""


def generate_launch_description() -> launch.LaunchDescription:
    """Return the narrator, with the Fast DDS profile that it sets for both, and the player."""
    return launch.LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (_, default, description) in PLAYED.items()
            ),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in PASSED_ON.items()
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(NARRATE)),
                launch_arguments={
                    "use_sim_time": "true",
                    **{name: LaunchConfiguration(name) for name in PASSED_ON},
                }.items(),
            ),
            Node(
                package="streamingvlm_ros",
                executable="player",
                name="player",
                parameters=[
                    {
                        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                        for name, (kind, _, _) in PLAYED.items()
                    },
                    # The narrator watches only this camera.
                    {"camera": ParameterValue(LaunchConfiguration("image"), value_type=str)},
                ],
                output="screen",
            ),
        ]
    )
