"""Settings of the nodes themselves, beside those of the model, the history and bags."""

from __future__ import annotations

from typing import Literal

from ..demo.world import FIRST_UNSEEN_SEED
from ..setting import setting, settings_group


@settings_group
class NodeConfig:
    """Settings of the node `narrator`."""

    autostart: bool = setting(
        True,
        "Configure and activate at start. If false, the node waits for lifecycle transitions.",
    )
    image_transport: Literal["raw", "compressed"] = setting(
        "raw",
        "Image topic to subscribe to: 'raw' means image (sensor_msgs/Image), 'compressed' means "
        "image/compressed (sensor_msgs/CompressedImage).",
    )
    max_questions: int = setting(
        32,
        "Maximum number of questions that wait or are being answered. Further ones are refused.",
        low=1,
        high=1000,
    )
    introspection: Literal["disabled", "metadata", "contents"] = setting(
        "disabled",
        "What to publish of service requests and responses (~/ask/_service_event and others), for "
        "example to record them: 'disabled' means nothing, 'metadata' their times, 'contents' "
        "their times and contents.",
    )
    history_folder: str = setting(
        "",
        "Folder that stores narration, answers and pictures for ~/history and for questions in "
        "mode 'history'; '~' is your home folder. Empty means no history.",
    )


@settings_group
class PlayerConfig:
    """Settings of the node `player`."""

    bag: str = setting("", "Bag to play: a rosbag2 folder, or one of its files.")
    rate: float = setting(
        1.0, "Playback speed as a multiple of the recorded speed.", low=0.01, high=100.0
    )
    start_s: float = setting(0.0, "Seconds to skip at the start of the bag.", low=0.0, high=1e9)
    loop: bool = setting(False, "Start again at the end of the bag.")
    camera: str = setting("", "The only image topic to play. Empty means all.")


@settings_group
class CameraConfig:
    """Settings of the node `synthetic_camera`."""

    seed: int = setting(
        FIRST_UNSEEN_SEED,
        f"Number of the synthetic world. The included model was trained on worlds below "
        f"{FIRST_UNSEEN_SEED}, never on later ones.",
        low=0,
        high=2**31 - 1,
    )
    new_things: bool = setting(
        False, "Show only cyan things and rings, which the included model was never trained on."
    )
    rate_hz: float = setting(10.0, "Images per second.", low=0.5, high=120.0)
    width_px: int = setting(448, "Width of the images in pixels.", low=28, high=4096)
    height_px: int = setting(448, "Height of the images in pixels.", low=28, high=4096)
    image_transport: Literal["raw", "compressed"] = setting(
        "raw",
        "Image topic to publish: 'raw' means image (sensor_msgs/Image), 'compressed' means "
        "image/compressed (sensor_msgs/CompressedImage, JPEG).",
    )
    frame_id: str = setting("camera_optical", "Coordinate frame in the images' headers.")
