"""A narrator for a camera and, if asked for, a recorder of what is seen and said.

ros2 launch streamingvlm_ros narrate.launch.py image:=/camera/image_raw model:=…
ros2 launch streamingvlm_ros narrate.launch.py image:=/camera/image_raw record:=true
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import LifecycleNode, Node
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
    """The arguments, the Fast DDS profile and the nodes."""
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
            DeclareLaunchArgument(
                "record", default_value="false", description="true starts a recorder, too."
            ),
            DeclareLaunchArgument(
                "record_folder",
                default_value="~/streamingvlm_bags",
                description="Folder in which the recorder makes a bag at each start.",
            ),
            DeclareLaunchArgument(
                "record_params_file",
                default_value=str(SHARE / "config" / "recorder.yaml"),
                description="The recorder's parameter file; all are documented in the default one.",
            ),
            *(
                DeclareLaunchArgument(name, default_value="", description=description)
                for name, description in PARAMETERS.items()
            ),
            *fastdds_profile(),
            OpaqueFunction(function=narrator),
            OpaqueFunction(function=recorder),
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


def recorder(context: launch.LaunchContext) -> list[Node]:
    """The recorder, if it is asked for. It finds its topics by itself."""
    given = context.launch_configurations
    if not yaml.safe_load(given["record"]):
        return []
    parameters = {"folder": value("folder", given["record_folder"])}
    if given["use_sim_time"]:
        parameters["use_sim_time"] = value("use_sim_time", given["use_sim_time"])
    return [
        Node(
            package="streamingvlm_ros",
            executable="recorder",
            name="recorder",
            namespace=given["namespace"],
            parameters=[given["record_params_file"], parameters],
            output="screen",
        )
    ]


def value(name: str, text: str) -> Any:
    """An argument's value with its type."""
    return yaml.safe_load(text) if name in NO_TEXT else ParameterValue(text, value_type=str)
