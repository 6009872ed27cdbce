"""A narrator for a camera and, on request, a recorder of images and narration.

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
    "fps": "Frames per second for the model, 1 to 30.",
    "instruction": "Instruction to the model.",
    "previous_text": "Earlier narration that always stays in the context: mission, names, scene.",
    "device": "Torch device, for instance cuda:1.",
    "image_transport": "raw or compressed; compressed subscribes to IMAGE/compressed.",
    "history_folder": "Folder of the history; none by default.",
    "autostart": "true activates at start, false waits for `ros2 lifecycle set`.",
    "use_sim_time": "true takes the time from /clock, for instance of a bag that is played.",
}
"""Arguments that set the node's parameters. Empty ones leave them to the parameter file."""

YAML_ARGUMENTS = ("fps", "autostart", "use_sim_time")
"""Arguments with a YAML value. Others stay text, even if they look like a number or a list."""


def generate_launch_description() -> launch.LaunchDescription:
    """Return the arguments, the Fast DDS profile and the nodes."""
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
                description="Parameter file; the default one documents all parameters.",
            ),
            DeclareLaunchArgument(
                "record", default_value="false", description="true also starts a recorder."
            ),
            DeclareLaunchArgument(
                "record_folder",
                default_value="~/streamingvlm_bags",
                description="Folder in which the recorder makes a bag at each start.",
            ),
            DeclareLaunchArgument(
                "record_params_file",
                default_value=str(SHARE / "config" / "recorder.yaml"),
                description="Recorder's parameter file; the default one documents all parameters.",
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
    """Set the profile without which Fast DDS loses most images, unless the user has set one."""
    name = "FASTDDS_DEFAULT_PROFILES_FILE"
    profile = str(SHARE / "config" / "fastdds.xml")
    return [] if name in os.environ else [SetEnvironmentVariable(name, profile)]


def narrator(context: launch.LaunchContext) -> list[LifecycleNode]:
    """Return the node, with all non-empty arguments as parameters."""
    arguments = context.launch_configurations
    parameters = {name: value(name, arguments[name]) for name in PARAMETERS if arguments[name]}
    return [
        LifecycleNode(
            package="streamingvlm_ros",
            executable="narrator",
            name="narrator",
            namespace=arguments["namespace"],
            parameters=[arguments["params_file"], parameters],
            remappings=[("image", arguments["image"])],
            output="screen",
        )
    ]


def recorder(context: launch.LaunchContext) -> list[Node]:
    """Return the recorder if `record` is true. It finds its topics by itself."""
    arguments = context.launch_configurations
    if not yaml.safe_load(arguments["record"]):
        return []
    parameters = {"folder": value("folder", arguments["record_folder"])}
    if arguments["use_sim_time"]:
        parameters["use_sim_time"] = value("use_sim_time", arguments["use_sim_time"])
    return [
        Node(
            package="streamingvlm_ros",
            executable="recorder",
            name="recorder",
            namespace=arguments["namespace"],
            parameters=[arguments["record_params_file"], parameters],
            output="screen",
        )
    ]


def value(name: str, text: str) -> Any:
    """Return an argument's value with its type."""
    return yaml.safe_load(text) if name in YAML_ARGUMENTS else ParameterValue(text, value_type=str)
