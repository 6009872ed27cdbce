"""A narrator for a camera.

ros2 launch streamingvlm_ros narrate.launch.py image:=/camera/image_raw model:=…
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

import launch

SHARE = Path(get_package_share_directory("streamingvlm_ros"))

PARAMETERS = {
    "model": "Checkpoint folder, hub id, 'demo' or 'auto'.",
    "fps": "Frames per second given to the model, 1 to 30.",
    "instruction": "What the model is told to do.",
    "previous_text": "What it should believe was said before: mission, names, scene.",
    "device": "Torch device, for instance cuda:1.",
    "image_transport": "raw or compressed; compressed subscribes IMAGE/compressed.",
    "history_folder": "Folder in which what was said and seen is kept; none by default.",
    "autostart": "false waits for `ros2 lifecycle set`.",
    "use_sim_time": "true takes the time from /clock, as a bag that is played gives it.",
}
"""Arguments that are parameters of the node; without a value, the file's or its own default."""

NO_TEXT = ("fps", "autostart", "use_sim_time")
"""All others are text, and must stay text when they read like a number or a list."""


def generate_launch_description() -> launch.LaunchDescription:
    """The arguments, the Fast DDS profile and the node."""
    return launch.LaunchDescription(
        [
            DeclareLaunchArgument(
                "image", default_value="image", description="The camera's image topic."
            ),
            DeclareLaunchArgument(
                "namespace", default_value="", description="Namespace of the narrator."
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=str(SHARE / "config" / "narrator.yaml"),
                description="Parameter file; all parameters are documented in the default one.",
            ),
            *(
                DeclareLaunchArgument(name, default_value="", description=description)
                for name, description in PARAMETERS.items()
            ),
            *fastdds_profile(),
            OpaqueFunction(function=narrator),
        ]
    )


def fastdds_profile() -> list[SetEnvironmentVariable]:
    """Without it Fast DDS loses most images between two processes. A user's own is kept."""
    name = "FASTDDS_DEFAULT_PROFILES_FILE"
    profile = str(SHARE / "config" / "fastdds.xml")
    return [] if name in os.environ else [SetEnvironmentVariable(name, profile)]


def narrator(context: launch.LaunchContext) -> list[LifecycleNode]:
    """The node, with those arguments as parameters that were given a value."""
    given = context.launch_configurations
    parameters = {name: value(name, given[name]) for name in PARAMETERS if given[name]}
    return [
        LifecycleNode(
            package="streamingvlm_ros",
            executable="narrator",
            name="narrator",
            namespace=given["namespace"],
            parameters=[given["params_file"], parameters],
            remappings=[("image", given["image"])],
            output="screen",
        )
    ]


def value(name: str, text: str) -> Any:
    """An argument's value with its type."""
    return yaml.safe_load(text) if name in NO_TEXT else ParameterValue(text, value_type=str)
